"""Territories part the cartridge: every place belongs to one frame's work, and is reported in one frame's pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.panel import load_panel
from ctcnet.scan.cartridge import Cartridge, Frame
from ctcnet.scan.pipeline.territory import Territories

pytestmark = pytest.mark.unit


def make_cartridge(places: list[tuple[int, int]], overlap_px: int, size_px: int = 200) -> Cartridge:
    """A cartridge of frames at some places of a grid; its pixels cannot be read."""
    step_um = (size_px - overlap_px) * 0.5
    frames = tuple(
        Frame(number, row, column, column * step_um, row * step_um)
        for number, (row, column) in enumerate(sorted(places), 1)
    )

    def read_pixels(index: int) -> np.ndarray:
        raise AssertionError("not read")

    return Cartridge(
        "made_up", Path("made_up"), "folder", "folder", load_panel("cellsearch4"), 0.5, size_px, size_px, frames, (),
        read_pixels, overlap_x_px=overlap_px, overlap_y_px=overlap_px,
    )  # fmt: skip


GRIDS = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=16).map(sorted)


@settings(max_examples=60)
@given(GRIDS, st.sampled_from([0, 10]), st.integers(0, 2**32 - 1))
def test_each_place_that_a_frame_shows_belongs_to_exactly_one_territory(places, overlap_px, seed):
    cartridge = make_cartridge(places, overlap_px)
    territories = Territories(cartridge, crop_reach_um=10.0)
    rng = np.random.default_rng(seed)
    shown = cartridge.frames[rng.integers(len(cartridge.frames))]
    x_um = shown.x_um + rng.uniform(-0.5, 199.4999, 50) * 0.5
    y_um = shown.y_um + rng.uniform(-0.5, 199.4999, 50) * 0.5
    claims = np.zeros(50, dtype=int)
    for place in territories.places:
        x_px, y_px = x_um / 0.5 - place.column * (200 - overlap_px), y_um / 0.5 - place.row * (200 - overlap_px)
        claims += territories.territory(place).depth(x_px, y_px) > 0
    assert (claims == 1).all()


@pytest.mark.parametrize("overlap_px", [0, 10])
def test_owner_gives_the_same_place_in_the_pixels_of_the_frame_that_shows_it(overlap_px):
    cartridge = make_cartridge([(0, 0), (0, 1), (1, 0), (1, 1)], overlap_px)
    territories = Territories(cartridge, crop_reach_um=10.0)
    last = cartridge.frames[3]
    x_px, y_px = np.array([-5.0, 5.0, -5.0, 5.0]), np.array([-5.0, -5.0, 5.0, 5.0])
    owner, owner_x, owner_y = territories.owner(territories.places[3], x_px, y_px)
    assert owner.tolist() == [0, 1, 2, 3]
    for place in range(4):
        frame = cartridge.frames[owner[place]]
        assert frame.x_um + owner_x[place] * 0.5 == pytest.approx(last.x_um + x_px[place] * 0.5)
        assert frame.y_um + owner_y[place] * 0.5 == pytest.approx(last.y_um + y_px[place] * 0.5)


def test_a_place_beyond_the_outer_border_stays_with_its_frame():
    territories = Territories(make_cartridge([(0, 0)], 0), crop_reach_um=10.0)
    owner, x_px, y_px = territories.owner(territories.places[0], np.array([-1.0]), np.array([-1.0]))
    assert (owner[0], x_px[0], y_px[0]) == (0, -1.0, -1.0)


def test_crops_in_a_territory_lie_inside_known_pixels():
    cartridge = make_cartridge([(row, column) for row in range(3) for column in range(3)], 0)
    territories = Territories(cartridge, crop_reach_um=16.0)
    territory = territories.territory(territories.places[4])
    reach_px = 16.0 / 0.5
    assert territory.x_from - reach_px >= -territories.margin_px
    assert territory.x_to + reach_px <= cartridge.frame_width_px
    assert territory.y_to + reach_px <= cartridge.frame_height_px


def test_what_neighbours_lend_a_missing_place_is_reported_in_their_pixels():
    territories = Territories(make_cartridge([(0, 0), (1, 1)], 0), crop_reach_um=10.0)
    hole = next(place for place in territories.places if (place.row, place.column) == (0, 1))
    assert hole.frame is None
    owner, x_px, y_px = territories.owner(hole, np.array([-3.0, 2.0]), np.array([50.0, 50.0]))
    assert owner.tolist() == [0, 0]
    assert x_px.tolist() == [197.0, 202.0]
    assert y_px.tolist() == [50.0, 50.0]


def test_small_frames_keep_a_territory():
    territories = Territories(make_cartridge([(0, 0), (0, 1)], 0, size_px=64), crop_reach_um=20.0)
    territory = territories.territory(territories.places[0])
    assert territory.x_to > territory.x_from
    assert territories.margin_px <= 64
