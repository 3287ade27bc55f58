"""What the CellTracks Analyzer's own software recorded of a cartridge: grid, pages, and the events it found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import CartridgeError

RUN_KEYS = ("numrows", "numcols", "camxsize", "camysize")
"""Fields of a run: rows and columns of the grid, size of the camera in pixels."""
_LARGEST = {"numrows": 100, "numcols": 1000, "camxsize": 100_000, "camysize": 100_000}
_TRUE, _FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n", "")
_DIGITS = 12
"""Longest number that is read: more digits are no size and no place."""
_NUMBER = rf"\s*(-?\d{{1,{_DIGITS}}}(?:\.\d*)?)\s*"
_LOCATION = re.compile(rf"\s*\({_NUMBER},{_NUMBER}\)\s*\({_NUMBER},{_NUMBER}\)\s*")


@dataclass(frozen=True)
class RecordedEvent:
    """One event of the scanner's list.

    Attributes:
        frame: number of the frame, from 1.
        corners_px: x and y of two opposite corners of its box, in pixels of the whole cartridge.
        assigned: whether the operator called it a CTC.
    """

    frame: int
    corners_px: tuple[float, float, float, float]
    assigned: bool


@dataclass(frozen=True)
class CartridgeRecord:
    """What is recorded of a cartridge.

    Attributes:
        path: file that it was read from.
        rows, columns: grid.
        camera_px: the two sizes of the camera, in whichever order.
        filter_names: names of the pages in their order; empty where they are not recorded.
        events: events that could be understood.
        unread_events: events that could not.
    """

    path: Path
    rows: int
    columns: int
    camera_px: tuple[int, int]
    filter_names: tuple[str, ...]
    events: tuple[RecordedEvent, ...]
    unread_events: int


def run_sizes(record: Mapping[str, str], path: Path) -> dict[str, int]:
    """The fields of `RUN_KEYS` as numbers.

    Raises:
        CartridgeError: one is absent, or no possible size.
    """
    sizes = {}
    for key in RUN_KEYS:
        text = record.get(key, "").strip()
        if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or not 1 <= int(text) <= _LARGEST[key]:
            raise CartridgeError(
                f"has a run whose {key} cannot be used",
                where=path,
                expected=f"a whole number from 1 to {_LARGEST[key]}",
                found=text[:40] or "nothing",
                fix="export the record again from the scanner, or move it away",
            )
        sizes[key] = int(text)
    return sizes


def recorded_event(record: Mapping[str, str]) -> RecordedEvent | None:
    """An event from its fields framenum, location '(x,y)(x,y)' and assigned; None where they cannot be understood."""
    frame, location = record.get("framenum", "").strip(), _LOCATION.fullmatch(record.get("location", ""))
    assigned = record.get("assigned", "").strip().casefold()
    if (
        not (frame.isascii() and frame.isdigit() and len(frame) <= _DIGITS)
        or location is None
        or assigned not in (*_TRUE, *_FALSE)
    ):
        return None
    x1, y1, x2, y2 = (float(text) for text in location.groups())
    return RecordedEvent(int(frame), (x1, y1, x2, y2), assigned in _TRUE)
