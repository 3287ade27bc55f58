"""Counts to network input, defined once: `(counts - background) / scale` per channel.

Training, evaluation, classification and the ONNX graphs all use this affine map; they differ only in where the two
levels come from, which is the mode:

- ``cartridge``: from the cartridge (columns of the manifest or the store, inputs of the graph). Keeps absolute stain.
- ``fixed``: constants of the model, medians over its training crops. Keeps absolute stain where there is no cartridge.
- ``per_crop``: from each crop by itself. Loses absolute stain; for crops without a cartridge and display pictures,
  whose channels share one scale, because they were stretched together: how they compare is all that is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctcnet.errors import SettingError

MODES: tuple[str, ...] = ("cartridge", "fixed", "per_crop")

BLOCK_PX = 4
"""Side of the blocks whose means stand for a crop's dark and bright levels; crop sizes are multiples of it."""

SCALE_FLOOR_FRACTION = 1 / 64
"""Least scale as a fraction of full scale, so that an empty channel's noise is not blown up to a signal."""

INPUT_LIMIT = 60.0
"""Normalised intensity beyond which a pixel counts as so bright: one speck of dye must not outshine a batch."""


def check_mode(mode: str) -> str:
    """Return `mode`, or raise SettingError listing the modes."""
    if mode not in MODES:
        raise SettingError(f"unknown normalisation mode '{mode}'", expected=f"one of: {', '.join(MODES)}")
    return mode


def scale_floor(full_scale: float) -> float:
    """Least scale in counts for a camera whose largest count is `full_scale`."""
    return full_scale * SCALE_FLOOR_FRACTION


def normalize(counts: Any, background: Any, scale: Any) -> Any:
    """Network input from counts.

    Args:
        counts: (N, C, H, W), a float numpy array or torch tensor, in camera counts.
        background: (C,) or (N, C), counts without stain.
        scale: (C,) or (N, C), counts above background that stand for 1; greater than 0.

    Returns:
        (N, C, H, W) of the type of `counts`; 0 is background, 1 is the cartridge's typical level.
    """
    return (counts - background[..., None, None]) / scale[..., None, None]


def per_crop_levels(counts: np.ndarray, floor: float, shared_scale: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Levels of each crop by itself: darkest block mean, and brightest block mean above it.

    Args:
        counts: (N, C, H, W), any real dtype; H and W multiples of `BLOCK_PX`.
        floor: least scale in counts, see `scale_floor`.
        shared_scale: whether the largest scale of a crop's channels stands for all of them.

    Returns:
        background and scale, each float32 (N, C).
    """
    count, channels, height, width = counts.shape
    if height % BLOCK_PX or width % BLOCK_PX:
        raise SettingError(
            "crop size is no multiple of the block", expected=f"multiple of {BLOCK_PX} px", found=f"{height} x {width}"
        )
    blocks = counts.astype(np.float32).reshape(
        count, channels, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX
    )
    means = blocks.mean(axis=(3, 5))
    background = means.min(axis=(2, 3))
    scale = np.maximum(means.max(axis=(2, 3)) - background, np.float32(floor))
    return background, scale.max(axis=1, keepdims=True).repeat(channels, axis=1) if shared_scale else scale


def fixed_levels(counts: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Constants for the mode `fixed`: per channel the medians of the per-crop levels over training crops.

    Args:
        counts: (N, C, H, W) training crops, N >= 1.
        floor: least scale in counts.

    Returns:
        background and scale, each float32 (C,).
    """
    background, scale = per_crop_levels(counts, floor)
    return np.median(background, axis=0).astype(np.float32), np.median(scale, axis=0).astype(np.float32)
