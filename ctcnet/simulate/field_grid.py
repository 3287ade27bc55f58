"""Grid of the frames of a simulated cartridge, in pixels and um of the cartridge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ctcnet.errors import SettingError


@dataclass(frozen=True)
class FramePlace:
    """Place of one frame.

    Attributes:
        number: number of the frame as the scanner counts.
        row, column: place on the grid, from 0.
        x_px, y_px: pixel of the cartridge that is the frame's upper left one.
    """

    number: int
    row: int
    column: int
    x_px: int
    y_px: int


@dataclass(frozen=True)
class FieldGrid:
    """Frames of one size on a complete grid.

    Pixel (0, 0) of the cartridge is the upper left pixel of the frame at row 0 and column 0; positions in um are those
    of pixel centres times the pixel size, x to the right, y downwards.

    Attributes:
        rows, columns: of frames, 1 or more.
        frame_height_px, frame_width_px: size of every frame.
        overlap_x_px, overlap_y_px: columns and rows that neighbouring frames share.
        pixel_size_um: um per pixel.
        serpentine: whether every second row is scanned, and numbered, backwards.
        first_number: number of the first frame.
    """

    rows: int
    columns: int
    frame_height_px: int
    frame_width_px: int
    pixel_size_um: float
    overlap_x_px: int = 0
    overlap_y_px: int = 0
    serpentine: bool = False
    first_number: int = 1

    @property
    def step_x_px(self) -> int:
        """Columns between the left borders of neighbouring frames."""
        return self.frame_width_px - self.overlap_x_px

    @property
    def step_y_px(self) -> int:
        """Rows between the upper borders of neighbouring frames."""
        return self.frame_height_px - self.overlap_y_px

    @property
    def width_px(self) -> int:
        """Columns of the whole cartridge."""
        return self.step_x_px * self.columns + self.overlap_x_px

    @property
    def height_px(self) -> int:
        """Rows of the whole cartridge."""
        return self.step_y_px * self.rows + self.overlap_y_px

    def place(self, row: int, column: int) -> FramePlace:
        """The frame at a place on the grid."""
        along = self.columns - 1 - column if self.serpentine and row % 2 else column
        number = self.first_number + row * self.columns + along
        return FramePlace(number, row, column, column * self.step_x_px, row * self.step_y_px)

    def scan_order(self) -> list[FramePlace]:
        """All frames in the order of their numbers."""
        places = [self.place(row, column) for row in range(self.rows) for column in range(self.columns)]
        return sorted(places, key=lambda place: place.number)

    def holding(self, x_um: np.ndarray, y_um: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number of the frame that holds each position, and x and y in its pixels (float64), (N,) each.

        Of the frames that share a position in their overlap, the one in which it lies farther from the border.
        """
        x_px, y_px = np.asarray(x_um) / self.pixel_size_um, np.asarray(y_um) / self.pixel_size_um
        column = _nearest(x_px, self.step_x_px, self.overlap_x_px, self.columns)
        row = _nearest(y_px, self.step_y_px, self.overlap_y_px, self.rows)
        along = np.where(self.serpentine & (row % 2 == 1), self.columns - 1 - column, column)
        number = self.first_number + row * self.columns + along
        return number, x_px - column * self.step_x_px, y_px - row * self.step_y_px


def _nearest(position_px: np.ndarray, step_px: int, overlap_px: int, count: int) -> np.ndarray:
    """Row or column whose frame's middle is nearest; frame k covers -0.5 + k step to k step + step + overlap - 0.5."""
    return np.clip(np.floor((position_px + 0.5 - overlap_px / 2) / step_px), 0, count - 1).astype(np.int64)


def grid_shape(frames: int, scanner_shape: tuple[int, int], known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Rows and columns of a grid of `frames` frames.

    A number of frames that the scanner's full scans have (`known`) gives their grid; any other the pair of factors
    nearest in shape to `scanner_shape`, with at least two rows and two columns where there is such a pair.

    Raises:
        SettingError: no frame.
    """
    if frames < 1:
        raise SettingError("is below 1", where="frames", expected="1 or more", found=str(frames))
    if frames in known:
        return known[frames]
    pairs = [(rows, frames // rows) for rows in range(1, frames + 1) if frames % rows == 0]
    wide = [pair for pair in pairs if min(pair) > 1] or pairs
    target = math.log(scanner_shape[0] / scanner_shape[1])
    return min(wide, key=lambda pair: (abs(math.log(pair[0] / pair[1]) - target), pair))
