"""Size, number of pages and depth that all frames of a cartridge share, whichever file is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctcnet.errors import CartridgeError, FrameError

_SAMPLE = 9
"""Files looked at to learn the shape: enough that a few damaged ones are outvoted."""


@dataclass(frozen=True)
class FrameShape:
    """Shape of the pixels in a file.

    Attributes:
        pages: number of images in the file.
        height_px, width_px: size of each.
        bits: 8 or 16 bits stored for each pixel.
    """

    pages: int
    height_px: int
    width_px: int
    bits: int

    @property
    def dtype(self) -> np.dtype:
        """uint8 or uint16."""
        return np.dtype(f"uint{self.bits}")

    def __str__(self) -> str:
        pages = "" if self.pages == 1 else f"{self.pages} pages of "
        return f"{pages}{self.width_px} x {self.height_px} px, {self.bits} bit"


def spread_sample(count: int, size: int) -> list[int]:
    """Up to `size` indices below `count`, evenly spread, the first and the last among them, in rising order."""
    return sorted({round(index * (count - 1) / max(size - 1, 1)) for index in range(min(size, count))})


def common_shape(paths: Sequence[Path], shape_of: Callable[[Path], FrameShape], where: Path) -> FrameShape:
    """Shape of most files in a spread sample; where none of them can be read, of the first file that can.

    Args:
        paths: files of the frames, in scan order.
        shape_of: reads the shape from a file's head; raises FrameError where it cannot.
        where: the cartridge, for messages.

    Raises:
        CartridgeError: no file can be read.
    """
    votes: Counter[FrameShape] = Counter()
    failure: FrameError | None = None
    sample = spread_sample(len(paths), _SAMPLE)
    rest = [index for index in range(len(paths)) if index not in set(sample)]
    for index in [*sample, *rest]:
        if index not in sample and votes:
            break
        try:
            votes[shape_of(paths[index])] += 1
        except FrameError as error:
            failure = failure or error
    if not votes:
        raise _none_readable(failure, where)
    most = max(votes.values())
    return next(shape for shape in votes if votes[shape] == most)  # ties go to the earliest


def _none_readable(failure: FrameError | None, where: Path) -> CartridgeError:
    """The error of a cartridge no file of which can be read: that of the first one."""
    what, fix = "holds no frame that can be read", "copy the cartridge again"
    if failure is None:
        return CartridgeError(what, where=where, fix=fix)
    found = f"for example {failure.where}: {failure.what}" + (f" ({failure.found})" if failure.found else "")
    return CartridgeError(what, where=where, expected=failure.expected, found=found, fix=failure.fix or fix)


def check_shape(found: FrameShape, expected: FrameShape, path: Path) -> None:
    """Raise FrameError where a file's shape is not that of the cartridge."""
    if found != expected:
        raise FrameError(
            "is not like the other frames of the cartridge",
            where=path,
            expected=str(expected),
            found=str(found),
            fix="the frame is left out; look whether it belongs to another scan",
        )
