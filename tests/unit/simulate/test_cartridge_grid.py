"""Grid of simulated frames: numbers, places, and the frame that holds a position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.errors import SettingError
from ctcnet.simulate.field_grid import FieldGrid, grid_shape
from ctcnet.simulate.layouts import axioscan, bzscanner, celltracks

pytestmark = pytest.mark.unit

_grids = st.builds(
    FieldGrid,
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    frame_height_px=st.integers(64, 128),
    frame_width_px=st.integers(64, 128),
    pixel_size_um=st.sampled_from([0.5, 0.64]),
    overlap_x_px=st.integers(0, 20),
    overlap_y_px=st.integers(0, 20),
    serpentine=st.booleans(),
    first_number=st.integers(0, 3),
)


def test_second_row_of_a_serpentine_scan_runs_backwards() -> None:
    grid = FieldGrid(3, 3, 64, 80, 0.5, serpentine=True)
    assert [(p.row, p.column) for p in grid.scan_order()] == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 2), (1, 1), (1, 0)),
        *((2, 0), (2, 1), (2, 2)),
    ]
    assert [p.number for p in grid.scan_order()] == list(range(1, 10))
    assert (grid.scan_order()[3].x_px, grid.scan_order()[3].y_px) == (160, 64)


@given(_grids, st.integers(0, 2**32 - 1))
def test_a_position_lies_in_the_frame_that_holds_it(grid: FieldGrid, seed: int) -> None:
    places = {place.number: place for place in grid.scan_order()}
    rng = np.random.default_rng(seed)
    size_px = np.array([grid.width_px, grid.height_px])
    x_um, y_um = (rng.uniform(-0.5, size_px - 0.5, (50, 2)) * grid.pixel_size_um).T
    number, x_px, y_px = grid.holding(x_um, y_um)
    for k in range(50):
        place = places[int(number[k])]
        assert (place.x_px + x_px[k]) * grid.pixel_size_um == pytest.approx(x_um[k], abs=1e-9)
        assert (place.y_px + y_px[k]) * grid.pixel_size_um == pytest.approx(y_um[k], abs=1e-9)
        assert -0.5 <= x_px[k] <= grid.frame_width_px - 0.5
        assert -0.5 <= y_px[k] <= grid.frame_height_px - 0.5


@given(_grids)
def test_in_an_overlap_the_frame_with_the_farther_border_holds(grid: FieldGrid) -> None:
    border_px = grid.step_x_px + grid.overlap_x_px / 2 - 0.5
    if grid.columns > 1:
        _, left, _ = grid.holding(np.array([(border_px - 0.1) * grid.pixel_size_um]), np.zeros(1))
        _, right, _ = grid.holding(np.array([(border_px + 0.1) * grid.pixel_size_um]), np.zeros(1))
        assert left[0] == pytest.approx(border_px - 0.1)
        assert right[0] == pytest.approx(grid.overlap_x_px / 2 - 0.4)


def test_full_scans_have_the_scanners_grid() -> None:
    layout = celltracks.LAYOUT
    for frames, shape in (
        (140, (4, 35)),
        (144, (4, 36)),
        (170, (5, 34)),
        (175, (5, 35)),
        (180, (5, 36)),
        (210, (6, 35)),
    ):
        assert grid_shape(frames, layout.scanner_shape, dict(layout.known_shapes)) == shape
    assert grid_shape(2304, bzscanner.LAYOUT.scanner_shape, {}) == (96, 24)
    assert grid_shape(731, axioscan.LAYOUT.scanner_shape, {}) == (17, 43)


@given(st.integers(1, 400))
def test_any_number_of_frames_makes_a_whole_grid(frames: int) -> None:
    rows, columns = grid_shape(frames, (5, 35), {})
    assert rows * columns == frames


def test_parts_of_a_scan_have_two_rows_where_that_can_be() -> None:
    assert grid_shape(12, (5, 35), {}) == (2, 6)
    assert grid_shape(7, (5, 35), {}) == (1, 7)


def test_no_frame_is_refused() -> None:
    with pytest.raises(SettingError, match="below 1"):
        grid_shape(0, (1, 1), {})
