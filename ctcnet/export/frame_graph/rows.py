"""Events of one kind in the graph, before they are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctcnet.export.frame_graph.arrays.array import Array
from ctcnet.export.frame_graph.arrays.indices import rows_of, take
from ctcnet.export.frame_graph.arrays.shapes import concat


@dataclass(frozen=True)
class EventRows:
    """The twin of `ctcnet.scan.detect.found.Found`: (N,) float32 each, places in working pixels."""

    y: Array
    x: Array
    diameter_um: Array
    snr: Array

    def take(self, rows: Array) -> EventRows:
        """The events at `rows`."""
        return EventRows(*(take(values, rows) for values in (self.y, self.x, self.diameter_um, self.snr)))

    def kept(self, mask: Array) -> EventRows:
        """The events of which a mask (N,) is true."""
        return self.take(rows_of(mask))


def join(parts: Sequence[EventRows]) -> EventRows:
    """Events of several channels, one after the other."""
    return EventRows(*(concat([getattr(part, name) for part in parts]) for name in EventRows.__dataclass_fields__))
