"""JPEG tiles with a .tags file beside each, which says what range of the 16-bit image its 8 bits stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctcnet.errors import FrameError

ENDING = ".tags"
_LIMITS = ("PreservedMinValue", "PreservedMaxValue")
"""Keys of the limits, as shares of 65535; file format from the package csi_images 3.0.4 (csi_frames)."""


def restore_range(stored: np.ndarray, path: Path) -> np.ndarray:
    """16-bit counts of an 8-bit image, by the .tags file beside it: (min + stored / 255 * (max - min)) * 65535.

    Args:
        stored: (H, W) uint8.
        path: the image's file.

    Raises:
        FrameError: the .tags file is absent, or does not state limits between 0 and 1.
    """
    lower, upper = _read_limits(path.with_suffix(ENDING))
    levels = lower + np.arange(256) / 255 * (upper - lower)
    return np.round(levels * 65535).astype(np.uint16)[stored]


def _read_limits(tags: Path) -> tuple[float, float]:
    try:
        lines = tags.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as cause:
        raise FrameError(
            f"cannot be read ({cause.strerror}), so that the range of its image is not known",
            where=tags,
            fix="copy the .tags files together with the images",
        ) from cause
    entries = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    try:
        lower, upper = (float(entries[key]) for key in _LIMITS)
    except (KeyError, ValueError) as cause:
        raise FrameError(
            "does not state the range of its image", where=tags, expected=" and ".join(_LIMITS), fix="copy it again"
        ) from cause
    if not 0 <= lower <= upper <= 1:
        raise FrameError(
            "states an impossible range", where=tags, expected="0 <= min <= max <= 1", found=f"{lower:g} to {upper:g}"
        )
    return lower, upper
