"""Places on a grid for frames whose positions on the stage are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctcnet.errors import CartridgeError

_SAME_LINE = 0.25
_LARGEST_JITTER = 0.1
TOUCHING_PX = 2.0
"""Frames whose distance differs from their size by no more than this touch: what a stage leaves."""


@dataclass(frozen=True)
class AxisPlaces:
    """Frames along one axis.

    Attributes:
        index: (N,) int place on the grid, from 0; only even places where the frames do not touch, so that no two of
            them are neighbours.
        offset_px: (N,) float64 position from place 0, as stated.
        overlap_px: pixels that neighbouring frames share.
        step_px: distance between neighbouring places of the grid.
        jitter_px: largest distance of a frame from its place.
        apart: whether there are gaps between the frames.
    """

    index: np.ndarray
    offset_px: np.ndarray
    overlap_px: int
    step_px: float
    jitter_px: float
    apart: bool


def place_along_axis(position_px: np.ndarray, size_px: int, where: Path, axis: str) -> AxisPlaces:
    """Find the regular grid that positions along one axis lie on.

    Positions nearer to the next than a quarter of the frame are of one line; the step is the median of the distances
    between adjacent lines that are no multiples of the smallest.

    Args:
        position_px: (N,) positions in pixels, from any origin.
        size_px: size of the frames along the axis.
        where, axis: for messages.

    Raises:
        CartridgeError: frames lie more than a tenth of their size off the grid.
    """
    order = np.argsort(position_px, kind="stable")
    new_line = np.diff(position_px[order]) > _SAME_LINE * size_px
    line = np.empty(len(position_px), int)
    line[order] = np.concatenate([[0], np.cumsum(new_line)])
    centres = np.array([np.median(position_px[line == place]) for place in range(line.max() + 1)])
    if len(centres) == 1:
        index, step = np.zeros(len(position_px), int), float(size_px)
    else:
        gaps = np.diff(centres)
        step = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
        place = np.concatenate([[0], np.cumsum(np.round(gaps / step).astype(int))])
        step = float(np.polyfit(place, centres, 1)[0])
        index = place[line]
    origin = float(np.median(position_px - index * step))
    jitter = float(np.abs(position_px - origin - index * step).max())
    if jitter > _LARGEST_JITTER * size_px:
        raise CartridgeError(
            f"has frames that lie on no regular grid along {axis}",
            where=where,
            expected=f"positions within {_LARGEST_JITTER * size_px:.0f} px of a grid",
            found=f"up to {jitter:.0f} px beside it",
            fix="give each connected region as a cartridge of its own",
        )
    apart = step > size_px + TOUCHING_PX
    overlap = 0 if step > size_px - 0.5 else round(size_px - step)
    if apart:
        index, step = 2 * index, step / 2
    offset = np.round(position_px - origin, 6) + 0.0  # a millionth of a pixel is rounding; + 0.0 makes -0 to 0
    return AxisPlaces(index, offset, overlap, step, jitter, apart)


def check_places_unique(rows: Sequence[int], columns: Sequence[int], names: Sequence[str], where: Path) -> None:
    """Raise CartridgeError where two frames stand at one place of the grid."""
    taken: dict[tuple[int, int], str] = {}
    for place, name in zip(zip(rows, columns, strict=True), names, strict=True):
        if place in taken:
            raise CartridgeError(
                "has two frames at one place",
                where=where,
                expected="one frame at each place of the grid",
                found=f"{taken[place]} and {name}, both at row {place[0]}, column {place[1]}",
                fix="keep one scan in each folder or file",
            )
        taken[place] = name


def empty_places(
    rows: Sequence[int], columns: Sequence[int], stride: tuple[int, int] = (1, 1)
) -> list[tuple[int, int]]:
    """Places (row, column) at which there is no frame, of the smallest grid from (0, 0) that holds all frames."""
    taken = set(zip(rows, columns, strict=True))
    grid_rows, grid_columns = range(0, max(rows) + 1, stride[0]), range(0, max(columns) + 1, stride[1])
    return [(row, column) for row in grid_rows for column in grid_columns if (row, column) not in taken]
