"""Places of frames on the grid of a scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.scan.cartridge import Frame, Note

LARGEST_GRID = 200_000
"""Places of a grid: some hundred times a cartridge. More come from a wrong number in a name or a position."""
_NAMED_FRAMES = 10
"""Frames that a note names before it only counts them."""


@dataclass(frozen=True)
class FrameGrid:
    """Grid of a scan.

    Attributes:
        rows, columns: of the complete scan.
        serpentine: whether every second row runs from right to left.
        step_x_um, step_y_um: from the left (upper) border of a frame to that of its neighbour.
    """

    rows: int
    columns: int
    serpentine: bool
    step_x_um: float
    step_y_um: float

    def frame(self, number: int, index: int) -> Frame:
        """Frame that the scanner counts as `number` and that came at `index`, from 0, in scan order."""
        row, column = divmod(index, self.columns)
        if self.serpentine and row % 2 == 1:
            column = self.columns - 1 - column
        return self.frame_at(number, row, column)

    def index_at(self, row: int, column: int) -> int:
        """Place in scan order, from 0, of the frame at a row and column."""
        backwards = self.serpentine and row % 2 == 1
        return row * self.columns + (self.columns - 1 - column if backwards else column)

    def frame_at(self, number: int, row: int, column: int) -> Frame:
        """Frame at a place, from 0."""
        return Frame(number, row, column, column * self.step_x_um, row * self.step_y_um)


def check_grid_size(places: int, where: Path) -> None:
    """Raise CartridgeError where a grid has more than `LARGEST_GRID` places."""
    if places > LARGEST_GRID:
        raise CartridgeError(
            "has frames that lie too far apart for one cartridge",
            where=where,
            expected=f"a grid of at most {LARGEST_GRID} places",
            found=str(places) if places < 10**15 else "far more",
            fix="look for a wrong number in a file's name or position, and keep one scan in each folder",
        )


def in_order(frames: Iterable[Frame]) -> list[Frame]:
    """Frames in the order of their place: row, then column."""
    return sorted(frames, key=lambda frame: (frame.row, frame.column))


def missing_note(missing: Sequence[Frame]) -> list[Note]:
    """One note on the frames that should be there and are not; none where all are."""
    if not missing:
        return []
    named = ", ".join(str(number) for number in sorted(frame.number for frame in missing)[:_NAMED_FRAMES])
    more = f" and {len(missing) - _NAMED_FRAMES} more" if len(missing) > _NAMED_FRAMES else ""
    message = f"{len(missing)} frames are missing ({named}{more}); the area that is counted is smaller by them"
    return [Note("missing_frames", message)]


def part_note(there: int, complete: int) -> list[Note]:
    """A note where only a part of a complete scan is there."""
    if there == complete:
        return []
    return [Note("partial_scan", f"only {there} of {complete} tiles are there; results are of their area alone")]


def incomplete_notes(numbers: Iterable[int]) -> list[Note]:
    """A note for each frame that is left out because a channel's file is not there."""
    message = "the file of a channel is not there; the frame is left out"
    return [Note("incomplete_frame", message, number) for number in numbers]
