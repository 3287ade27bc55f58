"""Axes of an image: from what its metadata say to (C, H, W), never guessed from the length of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctcnet.errors import ImageError, PanelError
from ctcnet.panel import Panel

CHANNEL_AXES = "CSIQ"
"""Letters of tifffile for channels, samples of a pixel, pages, and an axis without a name."""


def to_channels_first(pixels: np.ndarray, axes: str, where: str | Path) -> np.ndarray:
    """Bring an image with named axes to (C, H, W).

    Args:
        pixels: any shape.
        axes: one letter per axis in the order of the shape, as tifffile names them; Y and X must be there, one of
            C, S, I, Q may be longer than 1, every other axis must have the length 1.
        where: file, for messages.

    Raises:
        ImageError: an axis is missing, there is one too many, or the image is empty.
    """
    sizes = dict(zip(axes, pixels.shape, strict=True))
    described = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
    long = [axis for axis in axes if axis not in "YX" and sizes[axis] > 1]
    if "Y" not in sizes or "X" not in sizes or len(sizes) != len(axes) or pixels.size == 0:
        raise ImageError("is no image", where=where, expected="axes Y and X of at least two pixels", found=described)
    if len(long) > 1 or any(axis not in CHANNEL_AXES for axis in long):
        raise ImageError(
            "has axes that cannot be told apart as channels",
            where=where,
            expected="CYX, YXC, or ZCYX with Z = 1",
            found=described,
            fix="write one plane per channel, with the axis named C",
        )
    kept = long[0] if long else next((axis for axis in axes if axis in CHANNEL_AXES), "")
    dropped = tuple(place for place, axis in enumerate(axes) if axis not in ("Y", "X", kept))
    pixels = pixels.squeeze(axis=dropped)
    left = "".join(axis for axis in axes if axis in ("Y", "X", kept))
    if not kept:
        pixels, left, kept = pixels[None], "C" + left, "C"
    return pixels.transpose([left.index(axis) for axis in (kept, "Y", "X")])


def check_channel_count(count: int, panel: Panel, where: str | Path) -> None:
    """Raise PanelError unless an image has as many channels as the panel."""
    if count == len(panel.channels):
        return
    word = "too few" if count < len(panel.channels) else "too many"
    raise PanelError(
        f"has {word} channels for the panel '{panel.name}'",
        where=where,
        expected=f"{len(panel.channels)}: {', '.join(panel.markers)}",
        found=str(count),
        fix="give the panel of these images; for one file per channel put {channel} into the manifest's paths",
    )


def channel_order(names: Sequence[str], panel: Panel, where: str | Path) -> list[int]:
    """Place in the file of each channel of the panel, by name, whatever the case of the letters.

    Raises:
        PanelError: a name stands twice, is missing, or is not in the panel.
    """
    folded = [name.casefold() for name in names]
    twice = sorted({name for name in names if folded.count(name.casefold()) > 1})
    missing = [marker for marker in panel.markers if marker.casefold() not in folded]
    extra = [name for name in names if name.casefold() not in {marker.casefold() for marker in panel.markers}]
    problems = [
        f"{word}: {', '.join(found)}"
        for word, found in (("named twice", twice), ("missing", missing), ("not in the panel", extra))
        if found
    ]
    if problems:
        raise PanelError(
            f"its channels are not those of the panel '{panel.name}' ({'; '.join(problems)})",
            where=where,
            expected=", ".join(panel.markers),
            found=", ".join(names),
            fix="give the panel of these images, or rename the channels in the file's metadata",
        )
    return [folded.index(marker.casefold()) for marker in panel.markers]
