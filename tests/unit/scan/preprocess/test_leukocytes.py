"""Telling leukocytes from other nucleated cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from ctcnet.scan.preprocess.leukocytes import select_leukocytes, two_group_split

pytestmark = pytest.mark.unit

ROLES = ("nucleus", "epithelial", "leukocyte")
NOISE = np.array([2.0, 1.0, 1.0])


def _cells(count: int, nucleus: float, ck: float, cd45: float, seed: int = 0) -> np.ndarray:
    spread = np.random.default_rng(seed).lognormal(0, 0.3, (count, 3))
    return np.array([nucleus, ck, cd45]) * spread


def test_cells_without_cd45_are_left_out():
    levels = np.concatenate([_cells(100, 200, 10, 50), _cells(60, 200, 300, 0.5, 1), _cells(40, 200, 5, 0.3, 2)])
    chosen = select_leukocytes(levels, NOISE, ROLES)
    assert chosen[:100].mean() > 0.95
    assert not chosen[100:].any()


def test_tumour_cells_that_bleed_into_cd45_are_left_out_even_where_they_are_most():
    levels = np.concatenate([_cells(80, 200, 10, 90), _cells(400, 200, 900, 12, 1)])
    chosen = select_leukocytes(levels, NOISE, ROLES)
    assert chosen[:80].mean() > 0.9
    assert chosen[80:].mean() < 0.02


def test_a_cell_bright_in_ck_is_no_leukocyte():
    levels = np.concatenate([_cells(100, 200, 10, 50), _cells(5, 200, 400, 50, 1)])
    assert not select_leukocytes(levels, NOISE, ROLES)[100:].any()


def test_faint_cells_are_left_out():
    levels = np.concatenate([_cells(200, 200, 10, 100), _cells(4, 200, 10, 6, 1)])
    assert not select_leukocytes(levels, NOISE, ROLES)[200:].any()


def test_without_a_leukocyte_channel_all_ordinary_cells_count():
    levels = np.concatenate([_cells(100, 200, 10, 0), _cells(3, 200, 500, 0, 1)])[:, :2]
    chosen = select_leukocytes(levels, NOISE[:2], ROLES[:2])
    assert chosen[:100].all()
    assert not chosen[100:].any()


def test_no_cells_and_no_stained_cells_give_none():
    assert select_leukocytes(np.zeros((0, 3)), NOISE, ROLES).shape == (0,)
    assert not select_leukocytes(np.zeros((5, 3)), NOISE, ROLES).any()


@given(st.floats(0.01, 100))
def test_the_unit_of_the_counts_does_not_matter(factor):
    levels = np.concatenate([_cells(60, 200, 10, 50), _cells(30, 200, 300, 0.5, 1)])
    chosen = select_leukocytes(levels, NOISE, ROLES)
    assert np.array_equal(select_leukocytes(levels * factor, NOISE * factor, ROLES), chosen)


def test_two_groups_are_split_where_otsu_splits_them():
    draws = np.random.default_rng(3)
    log_levels = np.concatenate([draws.normal(1, 0.3, 300), draws.normal(4, 0.4, 200)])
    split = two_group_split(log_levels)
    assert split is not None
    expected = threshold_otsu(log_levels, nbins=2000)
    assert np.array_equal(log_levels > split, log_levels > expected)


@pytest.mark.parametrize("seed", range(5))
def test_one_group_is_not_split(seed):
    draws = np.random.default_rng(seed)
    assert two_group_split(draws.normal(3, 0.5, 400)) is None
    assert two_group_split(draws.uniform(2, 4, 400)) is None
    assert two_group_split(np.full(10, 2.0)) is None
