"""One multichannel image of a file, opened but not read: what the readers of general formats have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Region(NamedTuple):
    """Part of an image: rows `top` to `bottom` and columns `left` to `right`, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True)
class LazyImage:
    """An image and what its file says of it.

    Attributes:
        where: file or folder that holds it, for messages.
        name: name of the image in its file, or of its file.
        number: number of the frame, as the files count from 1 or as the file's name says.
        channel_names: as the file states them; empty where it does not.
        height_px, width_px: size at full resolution.
        dtype: uint8 or uint16 in the machine's byte order for images that can be used.
        significant_bits: bits that the file says are used, else None.
        pixel_size_um: micrometres per pixel where the file states them, else None.
        position_um: x and y of its upper left pixel where the file states them with a unit of length, else None.
        absent: whether its file is named by other files but not there.
        read_region: pixels of some channels, by their index in the file, in a region inside the image, (C, h, w);
            raises FrameError where they cannot be read. Safe to call from several threads.
    """

    where: Path
    name: str
    number: int
    channel_names: tuple[str, ...]
    height_px: int
    width_px: int
    dtype: np.dtype
    significant_bits: int | None
    pixel_size_um: float | None
    position_um: tuple[float, float] | None
    read_region: Callable[[tuple[int, ...], Region], np.ndarray] = field(repr=False)
    absent: bool = False
