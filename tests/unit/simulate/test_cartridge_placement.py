"""Places of cells: none nearer to another than asked, the same for the same seed, refused where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from ctcnet.errors import SettingError
from ctcnet.simulate.field_placement import place_circles

pytestmark = pytest.mark.unit


def _place(reach_um: np.ndarray, side_um: float, seed: int) -> np.ndarray:
    low = np.zeros((len(reach_um), 2))
    return place_circles(reach_um, low, low + side_um, np.random.default_rng(seed))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 150), st.integers(0, 8))
def test_circles_keep_their_distance(seed: int, small: int, large: int) -> None:
    rng = np.random.default_rng(seed)
    reach_um = np.concatenate((rng.uniform(12, 20, large), rng.uniform(3, 5, small)))
    centre = _place(reach_um, 400.0, seed)
    apart = cdist(centre, centre) - reach_um[:, None] - reach_um[None, :]
    np.fill_diagonal(apart, np.inf)
    assert (apart >= 0).all()
    assert ((centre >= 0) & (centre <= 400)).all()


def test_same_seed_same_places() -> None:
    reach_um = np.full(200, 4.0)
    assert np.array_equal(_place(reach_um, 300.0, 5), _place(reach_um, 300.0, 5))
    assert not np.array_equal(_place(reach_um, 300.0, 5), _place(reach_um, 300.0, 6))


def test_places_are_uniform() -> None:
    centre = _place(np.full(4000, 0.5), 1000.0, 1)
    found, _, _ = np.histogram2d(centre[:, 0], centre[:, 1], bins=4, range=[[0, 1000], [0, 1000]])
    assert abs(found - 250).max() < 4.5 * 250**0.5


def test_too_many_circles_are_refused() -> None:
    with pytest.raises(SettingError, match="do not fit"):
        _place(np.full(200, 10.0), 50.0, 0)


def test_an_area_smaller_than_a_circle_is_refused() -> None:
    low = np.full((1, 2), 10.0)
    with pytest.raises(SettingError, match="do not fit"):
        place_circles(np.ones(1), low, low - 5, np.random.default_rng(0))
