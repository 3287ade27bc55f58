"""Cells, objects and clusters of a frame put together in one table: the twin of `ctcnet.scan.detect.assembly`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ctcnet.export.frame_graph.arrays.array import FLOAT, INT, Array
from ctcnet.export.frame_graph.arrays.elements import clip, maximum, minimum, where
from ctcnet.export.frame_graph.arrays.indices import scattered, take
from ctcnet.export.frame_graph.arrays.shapes import arange, concat, full
from ctcnet.export.frame_graph.arrays.sorting import order_of
from ctcnet.export.frame_graph.clusters import group_cells
from ctcnet.export.frame_graph.planes import WorkingPlanes
from ctcnet.export.frame_graph.rows import EventRows
from ctcnet.scan.event_kinds import CELL, CLUSTER, OBJECT


@dataclass(frozen=True)
class EventTable:
    """Events of a frame, sorted by y, then x, then kind; see `ctcnet.scan.detect.detected_events`.

    Attributes:
        x_px, y_px, diameter_um, height_snr: (N,) float32.
        kind, members, parent: (N,) int64.
    """

    x_px: Array
    y_px: Array
    diameter_um: Array
    height_snr: Array
    kind: Array
    members: Array
    parent: Array

    @property
    def number(self) -> Array:
        """N, a scalar."""
        return self.x_px.size(0)

    def take(self, rows: Array) -> EventTable:
        """The events at `rows`; parents that are not among them become -1."""
        values = {field.name: take(getattr(self, field.name), rows) for field in fields(self)}
        place = scattered(self.number + 1, rows, arange(rows.size(0)) + 1, "add") - 1
        parent = values["parent"]
        values["parent"] = take(place, where(parent >= 0, parent, self.number))
        return EventTable(**values)

    def spread(self, most: Array) -> EventTable:
        """At most so many events (scalar int64, 0 or more), evenly spread over the frame's height, all kinds alike."""
        number = minimum(self.number, most)
        return self.take(arange(number) * self.number // maximum(number, 1))


def put_together(
    image: WorkingPlanes, cells: EventRows, objects: EventRows, height: Array, width: Array, gap_um: float
) -> EventTable:
    """Events in pixels of a frame of `height` x `width`, with the groups of cells that touch within `gap_um`."""
    pixel_um = image.pixel_um / image.factor
    cell_y, object_y = (_within(image.to_image(rows.y), height) for rows in (cells, objects))
    cell_x, object_x = (_within(image.to_image(rows.x), width) for rows in (cells, objects))
    groups = group_cells(cell_y * pixel_um, cell_x * pixel_um, cells.diameter_um, cells.snr, gap_um)
    numbers = [values.size(0) for values in (cell_y, object_y, groups.members)]
    kind = concat([full(number, name, INT) for number, name in zip(numbers, (CELL, OBJECT, CLUSTER), strict=True)])
    alone = numbers[0] + numbers[1]
    table = EventTable(
        x_px=concat([cell_x, object_x, groups.x_um / pixel_um]),
        y_px=concat([cell_y, object_y, groups.y_um / pixel_um]),
        diameter_um=concat([cells.diameter_um, objects.diameter_um, groups.diameter_um]),
        height_snr=concat([cells.snr, objects.snr, groups.snr]),
        kind=kind,
        members=concat([full(alone, 1, INT), groups.members]),
        parent=concat([where(groups.group >= 0, groups.group + alone, -1), full(numbers[1] + numbers[2], -1, INT)]),
    )
    by_x = order_of(table.x_px)
    return table.take(take(by_x, order_of(take(table.y_px, by_x))))


def _within(position: Array, length: Array) -> Array:
    return clip(position, 0, (length - 1).to(FLOAT))
