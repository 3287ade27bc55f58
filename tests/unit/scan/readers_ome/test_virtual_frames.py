"""Cutting a large image into frames."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.scan.readers.virtual_frames import cut_image

pytestmark = pytest.mark.unit


@given(st.integers(1, 60_000), st.integers(1, 60_000), st.integers(16, 4096))
def test_frames_cover_the_image_once_and_pad_little(height: int, width: int, largest: int) -> None:
    grid = cut_image(height, width, largest)
    assert grid.height_px <= largest
    assert grid.width_px <= largest
    below, right = grid.padding_px
    assert 0 <= below < max(5, -(-height // largest))
    assert 0 <= right < max(5, -(-width // largest))
    assert below < grid.height_px
    assert right < grid.width_px
    rows = [grid.region(row, 0) for row in range(grid.rows)]
    assert rows[0].top == 0
    assert rows[-1].bottom == height
    assert all(a.bottom == b.top for a, b in pairwise(rows))
    assert grid.region(0, grid.columns - 1).right == width


def test_an_image_of_camera_size_stays_whole() -> None:
    grid = cut_image(1036, 2048)
    assert (grid.rows, grid.columns, grid.height_px, grid.width_px) == (1, 1, 1036, 2048)


def test_padding_repeats_the_border() -> None:
    grid = cut_image(7, 5, 4)
    assert (grid.rows, grid.columns, grid.height_px, grid.width_px) == (2, 2, 4, 3)
    image = np.arange(35).reshape(1, 7, 5)
    region = grid.region(1, 1)
    padded = grid.pad(image[:, region.top : region.bottom, region.left : region.right])
    assert padded.tolist() == [[[23, 24, 24], [28, 29, 29], [33, 34, 34], [33, 34, 34]]]
