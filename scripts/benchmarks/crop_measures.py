"""Measures of leukocytes and specks on crops of DAPI, cytokeratin and CD45, the same for real and simulated ones."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

DAPI, CK, CD45 = range(3)
LEVEL_SHARE = 0.4
"""Nuclei and cells end where their stain falls to this share of its peak."""
NEAR_UM = 4.0
"""The nucleus of the cell that a crop was cut for lies within this distance of the crop's centre."""
FREE_UM = 7.0
"""Pixels further than this from every nucleus are free of cells."""
CORE_UM = 2.5
ISOLATED_PX = 4
SPECK_LEAST_LEVEL, SPECK_LEAST_NOISE = 0.5, 5.0
"""Least peak of a speck in units of the leukocytes' level, and of the noise's deviation."""
LEAST_FREE_PX = 300
BINS_UM = np.arange(0.0, 8.0, 0.4)


def free_area(dapi: np.ndarray, pixel_size_um: float) -> np.ndarray:
    """Pixels (H, W) without a nucleus within `FREE_UM`; nuclei are what lies above 15 % of the brightest."""
    smooth = ndimage.gaussian_filter(dapi, 1.0)
    low = np.median(smooth)
    nuclei = smooth > low + 0.15 * (np.percentile(smooth, 99.5) - low)
    distance_px = np.asarray(ndimage.distance_transform_edt(~nuclei), np.float64)
    return distance_px * pixel_size_um > FREE_UM


def nucleus_mask(dapi: np.ndarray, pixel_size_um: float) -> np.ndarray | None:
    """The nucleus (H, W) at the crop's centre at `LEVEL_SHARE` of its peak; None where there is none."""
    smooth = ndimage.gaussian_filter(dapi, 0.7)
    row, column = np.indices(dapi.shape) - (np.array(dapi.shape) - 1)[:, None, None] / 2
    near = np.hypot(row, column) * pixel_size_um < NEAR_UM
    peak = np.percentile(smooth[near], 95)
    low = np.median(smooth[~near])
    if peak - low < 4:
        return None
    labels = np.zeros(dapi.shape, np.int64)
    ndimage.label(smooth > low + LEVEL_SHARE * (peak - low), output=labels)
    here = np.bincount(labels[near & (labels > 0)], minlength=1)
    return labels == here.argmax() if here.sum() else None


def ring_profile(cd45: np.ndarray, centre: tuple[float, float], pixel_size_um: float) -> np.ndarray:
    """Median CD45 over the directions at the radii `BINS_UM`, so that a neighbour on one side does not count."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = BINS_UM[:, None] / pixel_size_um
    places = centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)
    return np.median(ndimage.map_coordinates(cd45, places, order=1, mode="nearest"), axis=1)


def _crossing(profile: np.ndarray, start: int, step: int, level: float) -> float:
    """Radius in um, from the bin `start` on, at which the profile falls below `level`; NaN where it does not."""
    index = start
    while 0 <= index + step < len(profile):
        if profile[index + step] < level:
            share = (profile[index] - level) / (profile[index] - profile[index + step])
            return float(BINS_UM[index] + share * (BINS_UM[index + step] - BINS_UM[index]))
        index += step
    return np.nan


def cell_measures(crop: np.ndarray, pixel_size_um: float) -> dict[str, float] | None:
    """Measures of the cell at the centre of a crop (3, H, W); None where no nucleus or no free area can be found."""
    crop = crop.astype(np.float32)
    free = free_area(crop[DAPI], pixel_size_um)
    nucleus = nucleus_mask(crop[DAPI], pixel_size_um)
    if nucleus is None or free.sum() < LEAST_FREE_PX:
        return None
    background = np.median(crop[:, free], axis=1)
    row, column = (float(place.mean()) for place in np.nonzero(nucleus))
    nucleus_um = 2 * np.sqrt(nucleus.sum() / np.pi) * pixel_size_um
    profile = ring_profile(crop[CD45], (row, column), pixel_size_um) - background[CD45]
    peak = int(profile[: int(6 / 0.4)].argmax())
    top = float(profile[peak])
    outer = _crossing(profile, peak, 1, LEVEL_SHARE * top) if top > 2 else np.nan
    centre = float(profile[:3].mean())
    ratio = centre / top if top > 2 else np.nan
    width = _crossing(profile, peak, 1, top / 2) - _crossing(profile, peak, -1, (top + centre) / 2)
    rows, columns = np.indices(nucleus.shape)
    core = np.hypot(rows - row, columns - column) * pixel_size_um < CORE_UM
    levels = crop[:, core].mean(1) - background
    return {
        "nucleus diameter um": nucleus_um,
        "CD45 cell diameter um": 2 * outer,
        "nucleus to cell area": (nucleus_um / (2 * outer)) ** 2,
        "CD45 ring FWHM um": width if ratio < 0.8 else np.nan,
        "CD45 centre to peak": ratio,
        "DAPI level counts": float(levels[DAPI]),
        "CK level counts": float(levels[CK]),
        "CD45 ring counts": top,
        "CK level to CD45 ring": float(levels[CK]) / max(top, 1.0),
    }


def background_measures(crop: np.ndarray, pixel_size_um: float) -> dict[str, float]:
    """Share of cell-free pixels at 0 and the neighbours' density of a crop (3, H, W)."""
    free = free_area(crop[DAPI].astype(np.float32), pixel_size_um)
    if free.sum() < LEAST_FREE_PX:
        return {}
    shares = {f"{name} background at 0": float((crop[i][free] == 0).mean()) for i, name in enumerate(("DAPI", "CK"))}
    return {**shares, "CK background counts": float(np.median(crop[CK][free]))}


def nearest_neighbour(crop: np.ndarray, pixel_size_um: float) -> tuple[int, float]:
    """Nuclei in a crop beside the one at its centre, and the distance in um of the nearest; infinite without any."""
    smooth = ndimage.gaussian_filter(crop[DAPI].astype(np.float32), 2.5)
    low, size = np.median(smooth), smooth.shape[0]
    middle = smooth[size // 2 - 6 : size // 2 + 6, size // 2 - 6 : size // 2 + 6].max()
    maxima = (smooth == ndimage.maximum_filter(smooth, 7)) & (smooth > low + 0.35 * (middle - low))
    rows, columns = np.nonzero(maxima)
    distance = np.hypot(rows - (size - 1) / 2, columns - (size - 1) / 2) * pixel_size_um
    others = np.delete(distance, distance.argmin()) if len(distance) else distance
    return len(others), float(others.min(initial=np.inf))


def speck_measures(channel: np.ndarray, free: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """Specks in the free area of one channel (H, W): peaks in counts and widths in px along x and y if isolated.

    Args:
        level: the leukocytes' level in the channel, in counts.
    """
    image = channel.astype(np.float32)
    inside = ndimage.binary_erosion(free, iterations=2, border_value=0)
    local = ndimage.median_filter(image, 11)
    noise = 1.4826 * np.median(np.abs((image - local)[free]))
    least = max(SPECK_LEAST_LEVEL * level, SPECK_LEAST_NOISE * noise, 3.0)
    excess = image - local
    maxima = (image == ndimage.maximum_filter(image, 3)) & (excess > least)
    rows, columns = np.nonzero(maxima & inside)
    peaks = excess[rows, columns]
    every = np.argwhere(maxima)
    widths = []
    for row, column, peak in zip(rows, columns, peaks, strict=True):
        alone = (np.abs(every - (row, column)).max(1) <= ISOLATED_PX).sum() == 1
        if alone and peak > 2 * least and image[row, column] < 250:
            sides = excess[[row - 1, row + 1, row, row], [column, column, column - 1, column + 1]]
            curvature = 2 * np.log(peak) - np.log(np.maximum(sides.reshape(2, 2), 0.02 * peak)).sum(1)
            widths.append(np.sort(curvature.clip(0.05) ** -0.5))
    return {"peaks": peaks, "widths": np.array(widths).reshape(-1, 2), "area_px": np.array([inside.sum()])}
