"""Grid of frames from their positions on the stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.stage_positions import check_places_unique, empty_places, place_along_axis

pytestmark = pytest.mark.unit
HERE = Path("scan")


@given(
    st.lists(st.integers(0, 60), min_size=2, max_size=40),
    st.integers(600, 3000),
    st.floats(0, 0.5),
    st.floats(-1e6, 1e6),
    st.integers(0, 2**31),
)
def test_a_regular_grid_is_found_again(places: list[int], size: int, overlap: float, origin: float, seed: int) -> None:
    places = sorted({place - min(places) for place in places} | {0, 1})  # two frames stand side by side somewhere
    step = size - round(overlap * size)
    jitter = np.random.default_rng(seed).uniform(-0.9, 0.9, len(places))  # less than makes a gap
    found = place_along_axis(origin + np.array(places) * step + jitter, size, HERE, "x")
    assert found.index.tolist() == places
    assert not found.apart
    assert abs(found.overlap_px - (size - step)) <= 2
    assert np.abs(found.offset_px - np.array(places) * step).max() <= 4


def test_without_jitter_overlap_and_offsets_are_exact() -> None:
    found = place_along_axis(np.array([5000.0, 7020.0, 2980.0, 11_060.0]), 2040, HERE, "x")
    assert found.index.tolist() == [1, 2, 0, 4]
    assert found.overlap_px == 20
    assert found.offset_px.tolist() == pytest.approx([2020, 4040, 0, 8080], abs=1e-6)
    assert found.jitter_px == pytest.approx(0, abs=1e-6)


def test_frames_that_do_not_touch_are_no_neighbours() -> None:
    found = place_along_axis(np.array([0.0, 150.0, 300.0]), 100, HERE, "x")
    assert found.apart
    assert found.index.tolist() == [0, 2, 4]
    assert found.overlap_px == 0
    assert found.step_px == pytest.approx(75)
    assert found.offset_px.tolist() == pytest.approx([0, 150, 300], abs=1e-6)


def test_a_gap_of_the_stage_still_touches() -> None:
    found = place_along_axis(np.array([0.0, 101.5, 203.0]), 100, HERE, "x")
    assert not found.apart
    assert found.index.tolist() == [0, 1, 2]
    assert found.overlap_px == 0


def test_one_line_of_frames() -> None:
    found = place_along_axis(np.array([7.0, 7.4, 6.9]), 100, HERE, "y")
    assert found.index.tolist() == [0, 0, 0]
    assert found.overlap_px == 0


def test_frames_beside_the_grid_are_refused() -> None:
    with pytest.raises(CartridgeError, match="no regular grid along x") as error:
        place_along_axis(np.array([0.0, 100.0, 200.0, 345.0]), 100, HERE, "x")
    assert "px beside it" in str(error.value)


def test_two_frames_at_one_place_are_refused() -> None:
    with pytest.raises(CartridgeError, match="a and c, both at row 0, column 1"):
        check_places_unique([0, 0, 0], [1, 0, 1], ["a", "b", "c"], HERE)


def test_empty_places() -> None:
    assert empty_places([0, 1], [0, 1]) == [(0, 1), (1, 0)]
    assert empty_places([0, 0], [0, 4], (1, 2)) == [(0, 2)]
