"""Places of the frames of a plain folder, from the numbers in the names of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.scan.cartridge import Frame, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.frame_grid import FrameGrid, check_grid_size
from ctcnet.scan.readers.stage_positions import check_places_unique, empty_places

Key = tuple[tuple[str, int], ...]
"""Numbers of a frame's file name, with the names of their placeholders, in the order of the alphabet."""


@dataclass(frozen=True)
class FolderGrid:
    """Where frames lie.

    Attributes:
        frames: place of each frame by the numbers in its file's name.
        missing: places of the grid that hold none.
        overlap_x_px, overlap_y_px: pixels that neighbours share, as the platform says.
        notes: what a user must know.
    """

    frames: dict[Key, Frame]
    missing: tuple[Frame, ...]
    overlap_x_px: int
    overlap_y_px: int
    notes: tuple[Note, ...]


def place_frames(
    keys: Sequence[Key], platform: Platform, width_um: float, height_um: float, pixel_size_um: float, path: Path
) -> FolderGrid:
    """Place frames by {row} and {column} or {y} and {x}, else by {frame} on the platform's grid, else apart.

    Args:
        keys: numbers of each frame, all with the same placeholders.
        platform: its grid, scan order and overlap are used.
        width_um, height_um, pixel_size_um: size of a frame and of a pixel.
        path: folder, for messages.

    Raises:
        CartridgeError: two frames stand at one place, or a number lies outside the platform's grid.
    """
    step_x = width_um - platform.overlap_x_px * pixel_size_um
    step_y = height_um - platform.overlap_y_px * pixel_size_um
    numbers = [dict(key) for key in keys]
    if "row" in numbers[0] or "y" in numbers[0]:
        rows = [entry["row"] if "row" in entry else entry["y"] for entry in numbers]
        columns = [entry["column"] if "column" in entry else entry["x"] for entry in numbers]
        rows, columns = [row - min(rows) for row in rows], [column - min(columns) for column in columns]
        grid = FrameGrid(max(rows) + 1, max(columns) + 1, False, step_x, step_y)
        check_places_unique(rows, columns, [str(dict(key)) for key in keys], path)
        frames = {
            key: grid.frame_at(entry.get("frame", 1 + row * grid.columns + column), row, column)
            for key, entry, row, column in zip(keys, numbers, rows, columns, strict=True)
        }
        last = max(frame.number for frame in frames.values()) if "frame" in numbers[0] else 0
        check_grid_size((1 + max(rows)) * (1 + max(columns)), path)
        gaps = empty_places(rows, columns)
        missing = [
            grid.frame_at(last + place if last else 1 + row * grid.columns + column, row, column)
            for place, (row, column) in enumerate(gaps, start=1)
        ]
        return FolderGrid(frames, tuple(missing), platform.overlap_x_px, platform.overlap_y_px, _gap_notes(missing))
    if platform.grid_columns:
        grid = FrameGrid(platform.grid_rows, platform.grid_columns, platform.serpentine, step_x, step_y)
        first = min(1, *(entry["frame"] for entry in numbers)) if len(numbers) > 1 else min(1, numbers[0]["frame"])
        total = platform.grid_rows * platform.grid_columns
        outside = [entry["frame"] for entry in numbers if total and entry["frame"] - first >= total]
        if outside:
            raise CartridgeError(
                f"has frames outside the grid of the platform '{platform.name}'",
                where=path,
                expected=f"numbers up to {first + total - 1} ({platform.grid_rows} x {platform.grid_columns})",
                found=str(outside[0]),
                fix="mend grid_rows and grid_columns in the platform file",
            )
        check_grid_size(max(entry["frame"] for entry in numbers) - first + 1, path)
        return _by_number(keys, lambda number: grid.frame(number, number - first), platform)
    first = min(entry["frame"] for entry in numbers)
    check_grid_size(max(entry["frame"] for entry in numbers) - first + 1, path)
    apart = FrameGrid(1, 2 * (max(entry["frame"] for entry in numbers) - first) + 1, False, step_x, step_y)
    found = _by_number(keys, lambda number: apart.frame_at(number, 0, 2 * (number - first)), None)
    message = "the names of the files do not say where the frames lie; no frame has neighbours, positions in the "
    message += "cartridge are made up, and cells at borders cannot be seen whole"
    return FolderGrid(found.frames, found.missing, 0, 0, (Note("positions_unknown", message), *found.notes))


def _by_number(keys: Sequence[Key], place: Callable[[int], Frame], platform: Platform | None) -> FolderGrid:
    """Frames and gaps by number: all numbers between the least and the largest found should be there."""
    frames = {key: place(dict(key)["frame"]) for key in keys}
    numbers = {frame.number for frame in frames.values()}
    missing = [place(number) for number in range(min(numbers), max(numbers) + 1) if number not in numbers]
    overlap = (platform.overlap_x_px, platform.overlap_y_px) if platform is not None else (0, 0)
    return FolderGrid(frames, tuple(missing), *overlap, _gap_notes(missing))


def _gap_notes(missing: Sequence[Frame]) -> tuple[Note, ...]:
    if not missing:
        return ()
    some = ", ".join(f"row {frame.row} column {frame.column}" for frame in missing[:6])
    more = " ..." if len(missing) > 6 else ""
    return (Note("missing_frames", f"{len(missing)} places of the grid hold no frame: {some}{more}"),)
