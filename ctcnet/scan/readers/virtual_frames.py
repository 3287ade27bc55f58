"""One large image cut into frames of equal size that touch each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctcnet.scan.readers.lazy_image import Region

LARGEST_FRAME_PX = 2048
"""Longest side of a virtual frame: about that of a camera, so that memory stays what it is for other cartridges."""

_SMALL_PADDING_PX = 4


@dataclass(frozen=True)
class VirtualGrid:
    """How an image is cut.

    Attributes:
        rows, columns: number of frames.
        height_px, width_px: size of each frame.
        image_height_px, image_width_px: size of the image, at most that of all frames together.
    """

    rows: int
    columns: int
    height_px: int
    width_px: int
    image_height_px: int
    image_width_px: int

    @property
    def padding_px(self) -> tuple[int, int]:
        """Rows and columns of the last frames that lie beyond the image."""
        return self.rows * self.height_px - self.image_height_px, self.columns * self.width_px - self.image_width_px

    def region(self, row: int, column: int) -> Region:
        """Part of the image that a frame shows."""
        top, left = row * self.height_px, column * self.width_px
        return Region(
            top,
            min(top + self.height_px, self.image_height_px),
            left,
            min(left + self.width_px, self.image_width_px),
        )

    def pad(self, pixels: np.ndarray) -> np.ndarray:
        """Fill a frame (C, h, w) that reaches beyond the image with the values at the image's border."""
        below, right = self.height_px - pixels.shape[1], self.width_px - pixels.shape[2]
        if not below and not right:
            return pixels
        return np.pad(pixels, ((0, 0), (0, below), (0, right)), mode="edge")


def cut_image(height_px: int, width_px: int, largest_px: int = LARGEST_FRAME_PX) -> VirtualGrid:
    """Divide an image into frames of one size, at most `largest_px` long, with as little padding as can be."""
    (rows, frame_height), (columns, frame_width) = _divide(height_px, largest_px), _divide(width_px, largest_px)
    return VirtualGrid(rows, columns, frame_height, frame_width, height_px, width_px)


def _divide(length_px: int, largest_px: int) -> tuple[int, int]:
    """Number and size of parts: the fewest that leave at most `_SMALL_PADDING_PX` over, else those that leave least."""
    fewest = -(-length_px // largest_px)
    most = max(fewest, length_px // max(1, largest_px // 2)) if fewest > 1 else fewest

    def cost(parts: int) -> tuple[int, int]:
        padding = parts * -(-length_px // parts) - length_px
        return (padding if padding > _SMALL_PADDING_PX else 0), parts

    count = min(range(fewest, most + 1), key=cost)
    return count, -(-length_px // count)
