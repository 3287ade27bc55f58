"""Undoing the stretch of CellTracks pages, against the formula in floating point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.errors import FrameError
from ctcnet.scan.readers.celltracks_record import recorded_event
from ctcnet.scan.readers.celltracks_stretch import FULL_SCALES, StoredPage, Stretch, judge_stretch

pytestmark = pytest.mark.unit

_FILE = Path("frame.tif")


@given(st.sampled_from(FULL_SCALES), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_counts_are_the_formulas(full_scale: int, one: int, other: int, seed: int) -> None:
    lower, upper = sorted((one, other))
    stored = np.random.default_rng(seed).integers(0, full_scale, (300, 5), endpoint=True).astype(np.uint16)
    stored[0, :2] = 0, full_scale
    out = np.empty_like(stored)
    Stretch(full_scale, 0).restore(stored, (lower, upper), out, _FILE)
    np.testing.assert_allclose(out, lower + stored.astype(float) / full_scale * (upper - lower), atol=0.5 + 1e-9)
    assert (out[0, 0], out[0, 1]) == (lower, upper)
    aliased = stored.copy()
    Stretch(full_scale, 0).restore(aliased, (lower, upper), aliased, _FILE)
    np.testing.assert_array_equal(aliased, out)


@given(st.sampled_from(FULL_SCALES), st.integers(0, 4095), st.integers(0, 4095), st.integers(2, 500))
def test_stretching_and_undoing_it_gives_the_counts_back(full_scale: int, one: int, other: int, seed: int) -> None:
    lower, upper = sorted((one, other))
    counts = np.random.default_rng(seed).integers(lower, upper, (40, 3), endpoint=True)
    stored = np.round((counts - lower) / max(upper - lower, 1) * full_scale).astype(np.uint16)
    out = np.empty(stored.shape, np.uint16)
    Stretch(full_scale, 0).restore(stored, (lower, upper), out, _FILE)
    coarse = 0.5 * (upper - lower) / full_scale  # half a step of the stored values
    np.testing.assert_allclose(out, counts, atol=coarse + 0.5)
    if full_scale >= 4095:
        np.testing.assert_array_equal(out, counts)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=12))
def test_full_scale_is_the_least_that_none_exceeds_and_certain_only_where_reached(maxima: list[int]) -> None:
    stretch, notes = judge_stretch([StoredPage(0, largest, (0, 10)) for largest in maxima], 16)
    assert stretch.full_scale is not None
    assert stretch.full_scale >= max(maxima)
    assert all(scale < max(maxima) for scale in FULL_SCALES if scale < stretch.full_scale)
    assert bool(notes) == (stretch.full_scale not in maxima)


def test_eight_bits_have_one_full_scale() -> None:
    stretch, notes = judge_stretch([StoredPage(0, 200, (0, 10))], 8)
    assert stretch.full_scale == 255
    assert [note.flag for note in notes] == ["uncertain_scale"]


def test_offset_is_taken_off_only_where_all_pages_carry_it() -> None:
    both = [StoredPage(32768, 36863, (0, 10)), StoredPage(0, 65535, (0, 10))]
    assert judge_stretch(both[:1], 16)[0] == Stretch(4095, 32768)
    assert judge_stretch(both, 16)[0] == Stretch(65535, 0)
    assert judge_stretch([StoredPage(32768, 33000, None)], 16)[0] == Stretch(None, 32768)


def test_an_offset_without_a_stretch_is_taken_off() -> None:
    stored = np.array([[32768, 32769]], np.uint16)
    Stretch(None, 32768).restore(stored, None, stored, _FILE)
    assert stored.tolist() == [[0, 1]]
    with pytest.raises(FrameError, match="32768 and more"):
        Stretch(None, 32768).restore(stored, None, stored, _FILE)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=10))
def test_any_text_is_an_event_or_none(frame: str, location: str, assigned: str) -> None:
    record = {"framenum": frame, "location": location, "assigned": assigned}
    assert recorded_event(record) is None or location.count("(") == 2


@given(st.integers(0, 10**6), st.tuples(*[st.integers(-(10**6), 10**6)] * 4), st.booleans())
def test_events_are_read_as_written(frame: int, corners: tuple[int, int, int, int], assigned: bool) -> None:
    x1, y1, x2, y2 = corners
    record = {"framenum": f" {frame} ", "location": f"({x1},{y1}) ( {x2} , {y2} )", "assigned": str(assigned)}
    event = recorded_event(record)
    assert event is not None
    assert (event.frame, event.corners_px, event.assigned) == (frame, corners, assigned)
