"""Places of the frames of a plain folder, from the numbers in the names of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.scan.cartridge import Frame, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.frame_grid import FrameGrid, check_grid_size
from ctcnet.scan.readers.stage_positions import check_places_unique

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
        known: whether the places are those in the cartridge, so that its outer border is known too.
    """

    frames: dict[Key, Frame]
    missing: tuple[Frame, ...]
    overlap_x_px: int
    overlap_y_px: int
    notes: tuple[Note, ...]
    known: bool = True


def place_frames(
    keys: Sequence[Key], platform: Platform, width_um: float, height_um: float, pixel_size_um: float, path: Path
) -> FolderGrid:
    """Place frames by {row} and {column} or {y} and {x}, else by {frame} on the platform's grid, else apart.

    On a grid that the platform states every place without a frame is missing; numbers begin with 0 where it is there,
    else with 1.

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
    if "row" in dict(keys[0]) or "y" in dict(keys[0]):
        return _by_row_and_column(keys, platform, (step_x, step_y), path)
    if platform.grid_columns:
        return _on_platform_grid(keys, platform, (step_x, step_y), path)
    return _apart(keys, platform, (step_x, step_y), path)


def _by_row_and_column(keys: Sequence[Key], platform: Platform, step_um: tuple[float, float], path: Path) -> FolderGrid:
    """Places by {row} and {column} or {y} and {x}, on the platform's grid where it states one."""
    numbers = [dict(key) for key in keys]
    rows = [entry["row"] if "row" in entry else entry["y"] for entry in numbers]
    columns = [entry["column"] if "column" in entry else entry["x"] for entry in numbers]
    stated = (platform.grid_rows, platform.grid_columns) if platform.grid_rows and platform.grid_columns else (0, 0)
    firsts = (min(1, *rows), min(1, *columns)) if any(stated) else (min(rows), min(columns))
    notes = (*_first_number_note(min(rows), "row"), *_first_number_note(min(columns), "column")) if any(stated) else ()
    rows, columns = [row - firsts[0] for row in rows], [column - firsts[1] for column in columns]
    size = (stated[0] or max(rows) + 1, stated[1] or max(columns) + 1)
    if max(rows) >= size[0] or max(columns) >= size[1]:
        found = f"row {max(rows) + firsts[0]}, column {max(columns) + firsts[1]}"
        expected = f"rows up to {firsts[0] + size[0] - 1}, columns up to {firsts[1] + size[1] - 1}"
        raise _outside(platform, f"{expected} ({size[0]} x {size[1]})", found, path)
    check_grid_size(size[0] * size[1], path)
    check_places_unique(rows, columns, [str(dict(key)) for key in keys], path)
    grid = FrameGrid(*size, False, *step_um)
    frames = {
        key: grid.frame_at(entry.get("frame", 1 + row * grid.columns + column), row, column)
        for key, entry, row, column in zip(keys, numbers, rows, columns, strict=True)
    }
    last = max(frame.number for frame in frames.values()) if "frame" in numbers[0] else 0
    taken = set(zip(rows, columns, strict=True))
    gaps = [(row, column) for row in range(size[0]) for column in range(size[1]) if (row, column) not in taken]
    missing = tuple(
        grid.frame_at(last + place if last else 1 + row * grid.columns + column, row, column)
        for place, (row, column) in enumerate(gaps, start=1)
    )
    overlap = (platform.overlap_x_px, platform.overlap_y_px)
    return FolderGrid(frames, missing, *overlap, (*notes, *_gap_notes(missing)))


def _outside(platform: Platform, expected: str, found: str, path: Path) -> CartridgeError:
    return CartridgeError(
        f"has frames outside the grid of the platform '{platform.name}'",
        where=path,
        expected=expected,
        found=found,
        fix="mend grid_rows and grid_columns in the platform file",
    )


def _on_platform_grid(keys: Sequence[Key], platform: Platform, step_um: tuple[float, float], path: Path) -> FolderGrid:
    """Places by number on the platform's grid; numbers begin with 0 where it is there, else with 1."""
    numbers = [dict(key)["frame"] for key in keys]
    grid = FrameGrid(platform.grid_rows, platform.grid_columns, platform.serpentine, *step_um)
    first, total = min(1, *numbers), platform.grid_rows * platform.grid_columns
    outside = [number for number in numbers if total and number - first >= total]
    if outside:
        expected = f"numbers up to {first + total - 1} ({platform.grid_rows} x {platform.grid_columns})"
        raise _outside(platform, expected, str(outside[0]), path)
    last = first + total - 1 if total else max(numbers)
    check_grid_size(last - first + 1, path)
    frames, missing = _by_number(keys, lambda number: grid.frame(number, number - first), range(first, last + 1))
    notes = (*_first_number_note(min(numbers), "number"), *_gap_notes(missing))
    return FolderGrid(frames, missing, platform.overlap_x_px, platform.overlap_y_px, notes)


def _apart(keys: Sequence[Key], platform: Platform, step_um: tuple[float, float], path: Path) -> FolderGrid:
    """Made-up places by number, no two of them neighbours, where nothing says where frames lie."""
    numbers = [dict(key)["frame"] for key in keys]
    first, last = min(numbers), max(numbers)
    check_grid_size(last - first + 1, path)
    grid = FrameGrid(1, 2 * (last - first) + 1, False, *step_um)
    frames, missing = _by_number(
        keys, lambda number: grid.frame_at(number, 0, 2 * (number - first)), range(first, last + 1)
    )
    message = "the names of the files do not say where the frames lie; no frame has neighbours, positions in the "
    message += "cartridge are made up, and cells at borders cannot be seen whole"
    notes = [Note("positions_unknown", message)]
    if platform.rim_um:
        message = f"the rim of {platform.rim_um:g} um that the platform states is not left out: it is not known which "
        notes.append(
            Note("rim_not_applied", message + "frames lie at the border, and bright edges may be taken for cells")
        )
    return FolderGrid(frames, missing, 0, 0, (*notes, *_gap_notes(missing)), known=False)


def _by_number(
    keys: Sequence[Key], place: Callable[[int], Frame], wanted: range
) -> tuple[dict[Key, Frame], tuple[Frame, ...]]:
    """Frames by key, and those of the wanted numbers that are not there."""
    frames = {key: place(dict(key)["frame"]) for key in keys}
    numbers = {frame.number for frame in frames.values()}
    return frames, tuple(place(number) for number in wanted if number not in numbers)


def _first_number_note(least: int, kind: str) -> tuple[Note, ...]:
    if least <= 1:
        return ()
    message = (
        f"no frame has the {kind} 0 or 1 (the least is {least}): the first place of the grid is assumed to have the "
        f"{kind} 1; where the scanner begins with another one, the places are wrong"
    )
    return (Note("first_number_assumed", message),)


def _gap_notes(missing: Sequence[Frame]) -> tuple[Note, ...]:
    if not missing:
        return ()
    some = ", ".join(f"row {frame.row} column {frame.column}" for frame in missing[:6])
    more = " ..." if len(missing) > 6 else ""
    return (Note("missing_frames", f"{len(missing)} places of the grid hold no frame: {some}{more}"),)
