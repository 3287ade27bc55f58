"""Groups of touching cells in the graph: the twin of `ctcnet.scan.detect.grouping`."""

from __future__ import annotations

from dataclasses import dataclass

from ctcnet.export.frame_graph.arrays.array import FLOAT, INT, Array
from ctcnet.export.frame_graph.arrays.elements import distance, maximum, where
from ctcnet.export.frame_graph.arrays.indices import rows_of, scattered, take
from ctcnet.export.frame_graph.arrays.loops import part
from ctcnet.export.frame_graph.arrays.shapes import full
from ctcnet.export.frame_graph.arrays.sums import running_sum
from ctcnet.export.frame_graph.pairs import components, near_pairs
from ctcnet.scan.detect import grouping as rule


@dataclass(frozen=True)
class CellGroups:
    """Clusters among N cells, see `ctcnet.scan.detect.grouping.Groups`.

    Attributes:
        group: (N,) int64, cluster that each cell is a member of, else -1.
        y_um, x_um, diameter_um, snr: (G,) float32.
        members: (G,) int64.
    """

    group: Array
    y_um: Array
    x_um: Array
    diameter_um: Array
    snr: Array
    members: Array


def group_cells(y_um: Array, x_um: Array, diameter_um: Array, snr: Array, gap_um: float) -> CellGroups:
    """Connected components of 2 to 6 cells that touch within `gap_um`, no more than 40 um wide."""
    return part(_group_cells, y_um, x_um, diameter_um, snr, gap_um)


def _group_cells(y_um: Array, x_um: Array, diameter_um: Array, snr: Array, gap_um: float) -> CellGroups:
    radius, number = diameter_um / 2, y_um.size(0)
    first, second = near_pairs(y_um, x_um, diameter_um + gap_um)
    apart = distance(take(y_um, first) - take(y_um, second), take(x_um, first) - take(x_um, second))
    touching = rows_of(apart < take(radius, first) + take(radius, second) + gap_um)
    root = components(number, take(first, touching), take(second, touching))
    members = scattered(number, root, full(number, 1, INT), "add")
    share = maximum(members, 1).to(FLOAT)
    mean_y, mean_x = (scattered(number, root, values, "add") / share for values in (y_um, x_um))
    away = distance(y_um - take(mean_y, root), x_um - take(mean_x, root)) + radius
    extent = 2 * scattered(number, root, away, "max")
    brightest = scattered(number, root, snr, "max")
    wanted = (members >= 2) & (members <= rule.LARGEST_GROUP) & (extent <= rule.LARGEST_EXTENT_UM)
    group = take(where(wanted, running_sum(wanted.to(INT)) - 1, -1), root)
    rows = rows_of(wanted)
    return CellGroups(group, *(take(values, rows) for values in (mean_y, mean_x, extent, brightest, members)))
