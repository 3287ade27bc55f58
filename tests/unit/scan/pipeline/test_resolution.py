"""Duplicates at borders go; cells of a cluster with a CTC count as one event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.scan.event_kinds import CELL, CLUSTER
from ctcnet.scan.pipeline.resolution import FoundEvents, resolve_events

pytestmark = pytest.mark.unit

GAP_UM = 2.0


def found(rows: list[dict]) -> FoundEvents:
    """Rows with defaults: single leukocytes far apart on one canvas."""
    base = {"x": 0.0, "y": 0.0, "canvas": 0, "depth": 50.0, "kind": CELL, "parent": -1, "diameter": 9.0, "p": 0.0}
    full = [{**base, "y": 100.0 * place, **row} for place, row in enumerate(rows)]

    def column(name: str, dtype: type) -> np.ndarray:
        return np.array([row[name] for row in full], dtype=dtype)

    p = column("p", float)
    return FoundEvents(
        column("x", float), column("y", float), column("canvas", int), column("depth", float), column("kind", np.uint8),
        column("parent", np.int64), column("diameter", float), p, p > 0.5, np.zeros(len(p), bool),
    )  # fmt: skip


def test_an_event_found_on_two_canvases_stays_where_it_lies_deeper():
    rows = [{"y": 0, "canvas": 0, "depth": -1.0}, {"y": 0, "x": 0.5, "canvas": 1, "depth": 1.0}]
    assert resolve_events(found(rows), GAP_UM).kept.tolist() == [False, True]


def test_an_event_that_both_frames_place_beyond_the_line_is_not_lost():
    assert resolve_events(found([{"depth": -1.0, "canvas": 0}]), GAP_UM).kept.tolist() == [True]


def test_events_close_together_on_one_canvas_both_stay():
    assert resolve_events(found([{"y": 0}, {"y": 2.0}]), GAP_UM).kept.tolist() == [True, True]


def test_of_a_chain_of_duplicates_no_place_is_left_without_an_event():
    rows = [{"y": 2.0 * place, "canvas": place, "depth": 3.0 - place} for place in range(3)]
    assert resolve_events(found(rows), GAP_UM).kept.tolist() == [True, False, True]


def test_a_cluster_is_no_duplicate_of_its_member():
    rows = [{"y": 0, "kind": CLUSTER}, {"y": 0, "canvas": 1}]
    assert resolve_events(found(rows), GAP_UM).kept.tolist() == [True, True]


def test_a_cluster_called_ctc_counts_once_and_its_members_do_not():
    rows = [{"y": 0, "kind": CLUSTER, "p": 0.9}, {"y": -5, "parent": 0, "p": 0.8}, {"y": 5, "parent": 0}]
    assert resolve_events(found(rows), GAP_UM).counted.tolist() == [True, False, False]


def test_a_ctc_in_a_cluster_not_called_one_counts_itself_and_the_leukocyte_beside_it_too():
    rows = [{"y": 0, "kind": CLUSTER, "p": 0.1}, {"y": -5, "parent": 0, "p": 0.8}, {"y": 5, "parent": 0}]
    assert resolve_events(found(rows), GAP_UM).counted.tolist() == [False, True, True]


def test_leukocytes_that_touch_count_one_by_one():
    rows = [{"y": 0, "kind": CLUSTER}, {"y": -5, "parent": 0}, {"y": 5, "parent": 0}]
    assert resolve_events(found(rows), GAP_UM).counted.tolist() == [False, True, True]


def test_ctcs_that_touch_outside_a_detected_cluster_count_once_as_the_likeliest():
    rows = [{"y": 0, "p": 0.7}, {"y": 9.0, "p": 0.9}, {"y": 60.0, "p": 0.9}]
    resolution = resolve_events(found(rows), GAP_UM)
    assert resolution.counted.tolist() == [False, True, True]
    assert resolution.members.tolist() == [0, 2, 0]


def test_members_of_a_cluster_that_was_a_duplicate_lose_their_parent():
    rows = [
        {"y": 0, "kind": CLUSTER, "canvas": 0, "depth": -1.0},
        {"y": -5, "parent": 0, "canvas": 0},
        {"y": 0, "kind": CLUSTER, "canvas": 1},
    ]
    resolution = resolve_events(found(rows), GAP_UM)
    assert resolution.kept.tolist() == [False, True, True]
    assert resolution.parent.tolist() == [-1, -1, -1]


def test_no_events():
    resolution = resolve_events(found([]), GAP_UM)
    assert len(resolution.kept) == len(resolution.counted) == 0


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.floats(0, 60), st.floats(0, 60), st.integers(0, 2), st.floats(0, 1), st.floats(-2, 50)),
        max_size=25,
    )
)
def test_every_place_with_an_event_keeps_one_and_no_duplicate_counts(events):
    rows = [{"x": x, "y": y, "canvas": c, "p": p, "depth": d} for x, y, c, p, d in events]
    resolution = resolve_events(found(rows), GAP_UM)
    assert not (resolution.counted & ~resolution.kept).any()
    for x, y, *_ in events:
        near = [resolution.kept[i] for i, row in enumerate(rows) if np.hypot(row["x"] - x, row["y"] - y) <= 2.5]
        assert any(near)


def _with_unassigned(rows: list[dict], unassigned: list[bool]) -> FoundEvents:
    return replace(found(rows), unassigned=np.array(unassigned))


def test_an_unassigned_cluster_does_not_hide_a_member_that_is_called_ctc():
    rows = [{"kind": CLUSTER, "p": 0.9}, {"parent": 0, "p": 0.8}, {"parent": 0, "p": 0.1}]
    assert resolve_events(found(rows), GAP_UM).counted.tolist() == [True, False, False]
    assert resolve_events(_with_unassigned(rows, [True, False, False]), GAP_UM).counted.tolist() == [False, True, True]


def test_an_unassigned_cluster_counts_where_no_member_is_sure_either():
    rows = [{"kind": CLUSTER, "p": 0.9}, {"parent": 0, "p": 0.8}, {"parent": 0, "p": 0.1}]
    assert resolve_events(_with_unassigned(rows, [True, True, False]), GAP_UM).counted.tolist() == [True, False, False]


def test_of_touching_ctcs_the_assigned_one_stands_for_both():
    rows = [{"y": 0, "p": 0.95}, {"y": 9, "p": 0.9}]
    resolution = resolve_events(_with_unassigned(rows, [True, False]), GAP_UM)
    assert resolution.counted.tolist() == [False, True]
    assert resolution.members.tolist() == [0, 2]


def _row_of_ctcs(unassigned: list[bool], x: list[float]) -> FoundEvents:
    rows = [
        {"y": 0, "x": place, "diameter": 11.0, "p": 0.9 - 0.3 * open_}
        for place, open_ in zip(x, unassigned, strict=True)
    ]
    return replace(found(rows), unassigned=np.array(unassigned))


def test_an_unassigned_event_between_two_ctcs_does_not_make_them_one():
    resolution = resolve_events(_row_of_ctcs([False, True, False], [0, 11, 23]), GAP_UM)
    assert resolution.counted.tolist() == [True, False, True]
    assert resolution.members.tolist() == [2, 0, 0]  # it belongs to the nearer of the two


def test_unassigned_events_that_touch_beside_a_ctc_make_no_chain():
    resolution = resolve_events(_row_of_ctcs([False, True, True, False], [0, 11, 22, 33]), GAP_UM)
    assert resolution.counted.tolist() == [True, False, False, True]


def test_unassigned_events_that_touch_count_once_where_no_ctc_is_beside_them():
    resolution = resolve_events(_row_of_ctcs([True, True, True], [0, 11, 22]), GAP_UM)
    assert resolution.counted.sum() == 1


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60), st.booleans()), min_size=1, max_size=25))
def test_assigned_ctcs_are_counted_as_if_unassigned_ones_were_not_there(events):
    rows = [{"x": x, "y": y, "p": 0.9 if sure else 0.6} for x, y, sure in events]
    sure = np.array([event[2] for event in events])
    counted = resolve_events(replace(found(rows), unassigned=~sure), GAP_UM).counted
    alone = resolve_events(found([row for row, own in zip(rows, sure, strict=True) if own]), GAP_UM).counted
    np.testing.assert_array_equal(counted[sure], alone)
