from __future__ import annotations

import numpy as np
import pytest

from ctcnet.data.training_levels import choose_mode, own_levels, spread_rows
from ctcnet.errors import SettingError
from ctcnet.normalization import fixed_levels

pytestmark = pytest.mark.unit

NONE = np.full((3, 2), np.nan, np.float32)


def test_auto_needs_levels_of_every_crop() -> None:
    assert choose_mode("auto", np.array([True, True])) == "cartridge"
    assert choose_mode("auto", np.array([True, False])) == "per_crop"
    with pytest.raises(SettingError, match="1 of 2 training crops"):
        choose_mode("cartridge", np.array([True, False]))


def test_fixed_levels_stand_for_every_row() -> None:
    sample = np.random.default_rng(0).uniform(100, 900, (5, 2, 16, 16))
    levels = own_levels("fixed", NONE, NONE, sample, 64.0)
    background, scale = levels.of_rows(NONE, NONE)
    expected = fixed_levels(sample, 64.0)
    assert (background == expected[0]).all()
    assert (scale == expected[1]).all()


def test_cartridge_levels_of_the_row_or_the_typical_ones() -> None:
    stated = np.array([[1, 2], [3, 4], [5, 60]], np.float32)
    levels = own_levels("cartridge", stated, stated + 1, None, 64.0)
    rows = np.array([[7, 8], [np.nan, 9]], np.float32)
    background, scale = levels.of_rows(rows, np.array([[1, 1], [1, 1]], np.float32))
    assert background.tolist() == [[7, 8], [3, 4]]
    assert scale.tolist() == [[1, 1], [4, 5]]


def test_spread_rows() -> None:
    assert spread_rows(3, 10).tolist() == [0, 1, 2]
    assert len(spread_rows(1000, 10)) == 10
    assert spread_rows(1000, 10)[-1] == 999
