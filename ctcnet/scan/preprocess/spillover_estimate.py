"""Spectral spillover estimated from images of cells that were stained with one dye only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats

from ctcnet.cartridge_levels import NOISE_FACTOR
from ctcnet.errors import SettingError, StatisticsError
from ctcnet.panel import Panel

LEAST_CELLS = 20
"""Cells below which a median and its interval mean little."""

_CONFIDENCE = 0.95
_BRIGHT_SIGMA, _BRIGHT_COUNTS = 20.0, 20.0
_LEAST_PIXELS = 9
_HALO_PX = 2
_RING_PX = (4, 10)
_RING_SIGMA = 4.0


@dataclass(frozen=True)
class SpilloverEstimate:
    """Share of one channel's signal that shows in another.

    Attributes:
        share: median over the cells; below 0 by chance where there is none.
        low, high: interval that holds the true median with a probability of at least 95 %.
        cells: number of cells.
    """

    share: float
    low: float
    high: float
    cells: int

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0


def estimate_spillover(
    images: Mapping[str, Sequence[np.ndarray]], panel: Panel
) -> dict[str, dict[str, SpilloverEstimate]]:
    """Estimate from single-stain images how much of each channel's signal shows in the others.

    For cell k of an image stained in channel i alone, r_k = sum(y_j - b_j) / sum(y_i - b_i) over the cell's pixels,
    b being the mean of each channel in a ring of 4 to 10 px around it without pixels far above the noise; the share
    M[j, i] is the median of r_k over the cells. Cells are connected groups of at least 9 pixels that lie 20 standard
    deviations of the noise and 20 counts above the image's median in channel i, widened by 2 px; those with a
    saturated pixel in any channel, or at the image's border, are left out. The sums make the ratio robust against
    rounded counts and small shifts between channels, the median against other objects. The interval is the
    distribution-free one of order statistics (binomial).

    Args:
        images: marker -> images (C, H, W) in counts, channels in the panel's order, in which only this marker is
            stained.
        panel: the channels.

    Returns:
        source marker -> every other marker -> estimate, in the panel's order.

    Raises:
        SettingError: a marker is unknown, or an image has another number of channels than the panel.
        StatisticsError: the images of a marker hold fewer than 20 cells that can be used.
    """
    place = {marker.casefold(): index for index, marker in enumerate(panel.markers)}
    unknown = [marker for marker in images if marker.casefold() not in place]
    if unknown:
        raise SettingError(
            f"unknown markers: {', '.join(unknown)}", where=f"panel '{panel.name}'", expected=", ".join(panel.markers)
        )
    result = {}
    for marker in sorted(images, key=lambda name: place[name.casefold()]):
        source = place[marker.casefold()]
        ratios = np.concatenate([_cell_ratios(_checked(image, panel), source, panel) for image in images[marker]])
        if len(ratios) < LEAST_CELLS:
            raise StatisticsError(
                f"the images stained with {panel.markers[source]} alone hold too few bright cells",
                expected=f"at least {LEAST_CELLS} unsaturated cells",
                found=str(len(ratios)),
                fix="give more images, or check that the marker is the one stained",
            )
        result[panel.markers[source]] = {
            name: _median_with_interval(ratios[:, target])
            for target, name in enumerate(panel.markers)
            if target != source
        }
    return result


def _checked(image: np.ndarray, panel: Panel) -> np.ndarray:
    if image.ndim != 3 or len(image) != len(panel.channels):
        raise SettingError(
            "an image has another number of channels than the panel",
            where=f"panel '{panel.name}'",
            expected=f"({len(panel.channels)}, H, W)",
            found=str(image.shape),
        )
    return image


def _cell_ratios(image: np.ndarray, source: int, panel: Panel) -> np.ndarray:
    """(cells, C) float64: sum above background in each channel over that in the source channel."""
    counts = image.astype(np.float64)
    centre, noise = _centre_and_noise(counts[source])
    bright = counts[source] > centre + max(_BRIGHT_SIGMA * noise, _BRIGHT_COUNTS)
    cells = np.empty(bright.shape, np.int32)
    number = int(ndimage.label(ndimage.binary_dilation(bright, iterations=_HALO_PX), output=cells))  # type: ignore[arg-type]
    if not number:
        return np.empty((0, len(counts)))
    index = np.arange(1, number + 1)
    distance, nearest = np.empty(cells.shape), np.empty((2, *cells.shape), np.int32)
    ndimage.distance_transform_edt(cells == 0, return_indices=True, distances=distance, indices=nearest)
    ring = (distance >= _RING_PX[0]) & (distance <= _RING_PX[1])
    of_ring = np.where(ring, cells[nearest[0], nearest[1]], 0)
    area = ndimage.sum_labels(np.ones_like(cells), cells, index)
    sums = np.empty((number, len(counts)))
    for channel, values in enumerate(counts):
        middle, sigma = _centre_and_noise(values)
        plain = np.where(np.abs(values - middle) <= _RING_SIGMA * sigma + 1, of_ring, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            background = ndimage.mean(values, plain, index)  # NaN without a ring: dropped below
        sums[:, channel] = ndimage.sum_labels(values, cells, index) - background * area
    saturated = ndimage.maximum(counts.max(axis=0), cells, index) >= panel.full_scale
    border = np.unique(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))
    core = ndimage.sum_labels(bright, cells, index)
    kept = ~saturated & ~np.isin(index, border) & (core >= _LEAST_PIXELS) & np.isfinite(sums).all(axis=1)
    return sums[kept] / sums[kept][:, [source]]


def _centre_and_noise(values: np.ndarray) -> tuple[float, float]:
    """Median, and standard deviation from the median absolute deviation, at least that of rounding to counts."""
    centre = float(np.median(values))
    return centre, max(NOISE_FACTOR * float(np.median(np.abs(values - centre))), 12**-0.5)


def _median_with_interval(values: np.ndarray) -> SpilloverEstimate:
    ordered = np.sort(values)
    count = len(ordered)
    below = int(stats.binom.ppf((1 - _CONFIDENCE) / 2, count, 0.5)) - 1
    low, high = ordered[max(below, 0)], ordered[min(count - 1 - below, count - 1)]
    return SpilloverEstimate(float(np.median(ordered)), float(low), float(high), count)


def spillover_yaml(estimates: Mapping[str, Mapping[str, SpilloverEstimate]]) -> str:
    """YAML text with a `spillover` mapping for a platform file; shares not above zero stand as comments."""
    lines = ["# Share of each channel's signal that shows in another, from single-stain images; median over cells."]
    body = []
    for source, targets in estimates.items():
        written = []
        for target, found in targets.items():
            note = f"95 % interval {found.low:.4f} to {found.high:.4f}, {found.cells} cells"
            if found.is_above_zero:
                written.append(f"    {_quoted(target)}: {found.share:.4f}  # {note}")
            else:
                written.append(f"    # {target}: none found, {note}")
        has_share = any(found.is_above_zero for found in targets.values())
        body += [f"  {_quoted(source)}:" if has_share else f"  {_quoted(source)}: {{}}", *written]
    return "\n".join([*lines, "spillover:", *body, ""])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'
