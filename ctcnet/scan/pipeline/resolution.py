"""Which rows stand for an event: duplicates at frame borders removed, cells of a cluster counted as one event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from ctcnet.scan.event_kinds import CLUSTER

DUPLICATE_UM = 2.5
"""Two rows from different frames this near are one event: less than the radius of the smallest cell."""


@dataclass(frozen=True)
class FoundEvents:
    """What resolution needs of all rows of a cartridge, N of them.

    Attributes:
        x_um, y_um: float64 (N,), in the cartridge.
        canvas: int (N,), frame on whose canvas the row was found.
        depth_px: (N,), distance inside the frame's territory.
        kind: uint8 (N,), see `ctcnet.scan.event_kinds`.
        parent: int64 (N,), row of the cluster that a cell is a member of, or -1.
        diameter_um: (N,).
        p_contains_ctc: float64 (N,); 0 throughout where the labels have no such roll-up.
        is_ctc: bool (N,), whether the label contains a CTC.
        unassigned: bool (N,), whether the model left the row unassigned.
    """

    x_um: np.ndarray
    y_um: np.ndarray
    canvas: np.ndarray
    depth_px: np.ndarray
    kind: np.ndarray
    parent: np.ndarray
    diameter_um: np.ndarray
    p_contains_ctc: np.ndarray
    is_ctc: np.ndarray
    unassigned: np.ndarray

    def rank(self) -> np.ndarray:
        """Float64 (N,), the higher the rather a row stands for the CTC of its event: assigned ones come first."""
        return self.p_contains_ctc - self.unassigned


@dataclass(frozen=True)
class Resolution:
    """What became of each row.

    Attributes:
        kept: bool (N,), false for duplicates.
        parent: int64 (N,), as before, -1 where the cluster was a duplicate.
        counted: bool (N,), whether the row stands for an event in the counts; never true where `kept` is false.
        members: int16 (N,), cells that the event stands for, where CTCs touch beyond one detected cluster; 0 = as
            detected.
    """

    kept: np.ndarray
    parent: np.ndarray
    counted: np.ndarray
    members: np.ndarray


def resolve_events(found: FoundEvents, contact_gap_um: float) -> Resolution:
    """Remove duplicates and decide which rows are counted.

    A cluster with a CTC in it counts once: as the cluster where its own label contains a CTC, else as the member that
    is likeliest one. What is unassigned is counted as no CTC, so it stands for the event only where nothing else does.
    Cells of a cluster without a CTC count one by one, and the cluster does not. CTCs that touch
    without having been detected as a cluster count once, as the likeliest of them; an unassigned one belongs to the
    nearest assigned one that it touches, and makes no bridge between two.

    Args:
        found: all rows.
        contact_gap_um: cells whose outlines come this near touch, see `DetectionSettings.member_distance_um`.
    """
    kept = _without_duplicates(found)
    parent = np.where((found.parent >= 0) & kept[np.maximum(found.parent, 0)], found.parent, -1)
    counted = kept & _count_once_per_cluster(found, kept, parent)
    members = _merge_touching_ctcs(found, counted, contact_gap_um)
    return Resolution(kept, parent, counted, members)


def _without_duplicates(found: FoundEvents) -> np.ndarray:
    """False for rows that stand for an event which a frame that is nearer to it found too.

    A row outside its frame's territory that no other frame found stays: the two frames place it on either side.
    """
    kept = np.ones(len(found.x_um), dtype=bool)
    for clusters in (False, True):
        rows = np.flatnonzero((found.kind == CLUSTER) == clusters)
        if len(rows) < 2:
            continue
        pairs = KDTree(np.column_stack((found.x_um[rows], found.y_um[rows]))).query_pairs(
            DUPLICATE_UM, output_type="ndarray"
        )
        first, second = rows[pairs[:, 0]], rows[pairs[:, 1]]
        crossing = found.canvas[first] != found.canvas[second]
        first, second = first[crossing], second[crossing]
        kept[_losers(found, first, second)] = False
    return kept


def _losers(found: FoundEvents, first: np.ndarray, second: np.ndarray) -> list[int]:
    """Rows of pairs (M,) that give way to one that stays; a row that went itself takes no other with it."""
    rank = np.empty(len(found.canvas), dtype=np.int64)
    rank[np.lexsort((found.canvas, -found.depth_px))] = np.arange(len(rank))
    winner = np.where(rank[first] < rank[second], first, second)
    loser = first + second - winner
    gone: set[int] = set()
    for pair in np.lexsort((rank[loser], rank[winner])).tolist():
        if int(winner[pair]) not in gone:
            gone.add(int(loser[pair]))
    return sorted(gone)


def _count_once_per_cluster(found: FoundEvents, kept: np.ndarray, parent: np.ndarray) -> np.ndarray:
    counted = np.ones(len(parent), dtype=bool)
    clusters = np.flatnonzero(kept & (found.kind == CLUSTER))
    if not len(clusters):
        return counted
    members = np.flatnonzero(kept & (parent >= 0))
    holds_ctc = np.zeros(len(parent), dtype=bool)
    holds_ctc[parent[members][found.is_ctc[members]]] = True
    stands = found.is_ctc.copy()
    sure = members[found.is_ctc[members] & ~found.unassigned[members]]
    stands[parent[sure][found.unassigned[parent[sure]]]] = False
    counted[clusters] = stands[clusters]
    inside_counted = stands[parent[members]]
    counted[members[inside_counted]] = False
    alone = members[holds_ctc[parent[members]] & ~inside_counted & found.is_ctc[members]]
    order = np.lexsort((alone, -found.rank()[alone], parent[alone]))
    ordered = alone[order]
    later = np.concatenate(([False], parent[ordered][1:] == parent[ordered][:-1])) if len(ordered) else []
    counted[ordered[np.asarray(later, dtype=bool)]] = False
    return counted


def _merge_touching_ctcs(found: FoundEvents, counted: np.ndarray, contact_gap_um: float) -> np.ndarray:
    """Leave one of each set of counted CTCs that touch (`counted` is changed); cells that each stands for, or 0."""
    members = np.zeros(len(counted), dtype=np.int16)
    rows = np.flatnonzero(counted & found.is_ctc)
    if len(rows) < 2:
        return members
    tree = KDTree(np.column_stack((found.x_um[rows], found.y_um[rows])))
    reach = float(found.diameter_um[rows].max()) + contact_gap_um
    pairs = tree.query_pairs(reach, output_type="ndarray")
    first, second = rows[pairs[:, 0]], rows[pairs[:, 1]]
    distance = np.hypot(found.x_um[first] - found.x_um[second], found.y_um[first] - found.y_um[second])
    touching = distance < (found.diameter_um[first] + found.diameter_um[second]) / 2 + contact_gap_um
    joined = _without_bridges(pairs[touching], distance[touching], found.unassigned[rows])
    links = coo_matrix((np.ones(len(joined)), joined.T), shape=(len(rows), len(rows)))
    _, group = connected_components(links, directed=False)
    order = np.lexsort((rows, -found.rank()[rows], group))
    ordered = rows[order]
    best = np.concatenate(([True], group[order][1:] != group[order][:-1]))
    counted[ordered[~best]] = False
    sizes = np.bincount(group)
    members[ordered[best]] = np.where(sizes > 1, sizes, 0)[group[order][best]]
    return members


def _without_bridges(pairs: np.ndarray, distance: np.ndarray, unassigned: np.ndarray) -> np.ndarray:
    """Pairs (M, 2) of touching rows of which an unassigned one has one assigned neighbour at most, the nearest.

    Args:
        pairs: (L, 2), rows that touch.
        distance: (L,), between them.
        unassigned: bool (N,), of the rows.
    """
    open_ = unassigned[pairs]
    mixed = np.flatnonzero(open_[:, 0] != open_[:, 1])
    row = np.where(open_[mixed, 0], pairs[mixed, 0], pairs[mixed, 1])
    nearest_first = np.lexsort((distance[mixed], row))
    attached, place = np.unique(row[nearest_first], return_index=True)
    taken = np.zeros(len(unassigned), dtype=bool)
    taken[attached] = True
    same = (open_[:, 0] == open_[:, 1]) & ~taken[pairs].any(axis=1)
    return np.concatenate((pairs[same], pairs[mixed[nearest_first][place]]))
