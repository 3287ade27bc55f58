"""Events that the CellTracks Analyzer recorded, placed in the cartridge."""

from __future__ import annotations

from ctcnet.scan.cartridge import Note, PriorEvent
from ctcnet.scan.readers.celltracks_record import CartridgeRecord, RecordedEvent
from ctcnet.scan.readers.frame_grid import FrameGrid
from ctcnet.scan.readers.frame_shape import FrameShape


def prior_events(
    record: CartridgeRecord | None, grid: FrameGrid, shape: FrameShape, pixel_size_um: float
) -> tuple[tuple[PriorEvent, ...], list[Note]]:
    """Events of the record, with a note on those that lie outside the cartridge or in another frame than stated.

    The record counts in pixels of the whole cartridge, column * width + x and row * height + y, frames touching.
    """
    if record is None:
        return (), []
    placed, outside, elsewhere = [], record.unread_events, 0
    for event in record.events:
        number = _frame_number(event, grid, shape)
        if number is None or not 1 <= event.frame <= grid.rows * grid.columns:
            outside += 1
            continue
        elsewhere += number != event.frame
        placed.append(_prior_event(event, number, grid, shape, pixel_size_um))
    notes = []
    if outside:
        message = f"{outside} events of {record.path.name} have no place in the cartridge; they are left out"
        notes.append(Note("prior_events_unread", message))
    if elsewhere:
        message = (
            f"{elsewhere} of {len(placed)} events of {record.path.name} lie in another frame than it says; their "
            "positions are trusted"
        )
        notes.append(Note("prior_events_elsewhere", message))
    return tuple(placed), notes


def _centre_px(event: RecordedEvent) -> tuple[float, float]:
    x1, y1, x2, y2 = event.corners_px
    return (x1 + x2) / 2, (y1 + y2) / 2


def _frame_number(event: RecordedEvent, grid: FrameGrid, shape: FrameShape) -> int | None:
    """Number of the frame in which the centre of an event lies; None where in none."""
    x, y = _centre_px(event)
    column, row = int(x // shape.width_px), int(y // shape.height_px)
    if not (0 <= column < grid.columns and 0 <= row < grid.rows):
        return None
    return grid.index_at(row, column) + 1


def _prior_event(
    event: RecordedEvent, number: int, grid: FrameGrid, shape: FrameShape, pixel_size_um: float
) -> PriorEvent:
    x, y = _centre_px(event)
    frame = grid.frame(number, number - 1)
    x_um = frame.x_um + (x - frame.column * shape.width_px) * pixel_size_um
    y_um = frame.y_um + (y - frame.row * shape.height_px) * pixel_size_um
    return PriorEvent(x_um, y_um, number, event.assigned)
