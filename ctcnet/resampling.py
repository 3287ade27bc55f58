"""Crops brought to the model's scale: one linear resampler, written as two small matrices."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ctcnet.errors import SettingError

DEFAULT_CROP_SIZE_PX = 64
"""Side of a model's crops where nothing else is asked for."""

MOST_CROP_SIZE_PX = 2048
"""Largest side of a crop that is offered; the interpolation weights grow with its square."""


@lru_cache(maxsize=512)
def resampling_matrix(size_px: int, target_size_px: int, step_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of linear interpolation along one axis, widened to a triangle when shrinking so that nothing aliases.

    The centres of the two axes coincide. Weights that fall outside the source are left out; `coverage` says how much
    of each target pixel is inside.

    Args:
        size_px: pixels of the source.
        target_size_px: pixels of the target.
        step_px: source pixels per target pixel, target_pixel_size_um / pixel_size_um.

    Returns:
        weights float32 (target_size_px, size_px), rows sum to `coverage`; coverage float32 (target_size_px,) in 0..1.
    """
    centres = (size_px - 1) / 2 + (np.arange(target_size_px) - (target_size_px - 1) / 2) * step_px
    reach = max(step_px, 1.0)
    first = int(np.floor(min(0.0, centres.min() - reach))) - 1
    last = int(np.ceil(max(size_px - 1.0, centres.max() + reach))) + 1
    positions = np.arange(first, last + 1)
    weights = np.clip(1 - np.abs(positions[None] - centres[:, None]) / reach, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = weights[:, -first : -first + size_px].astype(np.float32)
    inside.flags.writeable = False
    coverage = inside.sum(axis=1)
    coverage.flags.writeable = False
    return inside, coverage


def border_median(image: np.ndarray) -> np.ndarray:
    """Median of the outermost pixels of each channel of an image (C, H, W): float32 (C,)."""
    rim = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
    return np.median(rim, axis=1).astype(np.float32)


def resample_crop(
    image: np.ndarray, pixel_size_um: float, target_pixel_size_um: float, target_size_px: int
) -> np.ndarray:
    """Cut or pad a crop about its centre and resample it to the model's scale.

    Where the target reaches beyond the crop it is filled with the median of the channel's border. A crop that has the
    target's scale and size comes back unchanged, bit by bit.

    Args:
        image: (C, H, W), uint8, uint16 or float32, in counts.
        pixel_size_um: micrometres per pixel of `image`.
        target_pixel_size_um: micrometres per pixel wanted.
        target_size_px: side of the square wanted, in pixels.

    Returns:
        (C, S, S): uint16 for integer images (rounded to nearest), float32 for float32.

    Raises:
        SettingError: a size is not positive and finite.
    """
    for name, value in (("pixel_size_um", pixel_size_um), ("target_pixel_size_um", target_pixel_size_um)):
        if not (np.isfinite(value) and value > 0):
            raise SettingError(f"{name} is not a size", expected="um per pixel above 0", found=str(value))
    dtype = np.float32 if image.dtype.kind == "f" else np.uint16
    step_px = float(target_pixel_size_um) / float(pixel_size_um)
    _, height, width = image.shape
    if abs(step_px - 1) < 1e-6:
        if (height, width) == (target_size_px, target_size_px):
            return image.astype(dtype, copy=False)
        step_px = 1.0
    rows, row_coverage = resampling_matrix(height, target_size_px, step_px)
    columns, column_coverage = resampling_matrix(width, target_size_px, step_px)
    resampled = rows @ image.astype(np.float32) @ columns.T
    outside = 1 - row_coverage[:, None] * column_coverage[None]
    if outside.any():
        resampled += outside[None] * border_median(image)[:, None, None]
    if dtype == np.float32:
        return resampled.astype(np.float32, copy=False)
    return np.clip(np.rint(resampled), 0, 65535).astype(np.uint16)
