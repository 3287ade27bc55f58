"""Suppression, pairs and groups against plain loops and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ctcnet.scan.detect.grouping import group_cells
from ctcnet.scan.detect.neighbourhoods import opened
from ctcnet.scan.detect.scale_space import blur, scale_diameters_um
from ctcnet.scan.detect.suppression import near_pairs, strongest

pytestmark = pytest.mark.unit

POINTS = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0.5, 9)), max_size=30)


def columns(points: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, x, value = np.array(points, float).reshape(-1, 3).T
    return y, x, value


@given(POINTS)
@settings(max_examples=60)
def test_pairs_are_those_of_a_plain_loop(points):
    y, x, reach = columns(points)
    wanted = [
        (i, j)
        for i in range(len(y))
        for j in range(i + 1, len(y))
        if np.hypot(y[i] - y[j], x[i] - x[j]) < max(reach[i], reach[j])
    ]
    found = {tuple(pair) for pair in near_pairs(y, x, reach).tolist()}
    border = {
        (i, j) for i, j in found ^ set(wanted)
        if abs(np.hypot(y[i] - y[j], x[i] - x[j]) - max(reach[i], reach[j])) < 1e-9
    }  # fmt: skip
    assert found ^ set(wanted) == border


@given(POINTS)
@settings(max_examples=60)
def test_suppression_is_greedy_from_the_strongest(points):
    y, x, strength = columns(points)
    pairs = near_pairs(y, x, np.full(len(y), 6.0))
    partners = {tuple(pair) for pair in pairs.tolist()}
    stays: list[int] = []
    for row in sorted(range(len(y)), key=lambda row: (-strength[row], row)):
        if not any((min(row, other), max(row, other)) in partners for other in stays):
            stays.append(row)
    assert np.flatnonzero(strongest(strength, pairs)).tolist() == sorted(stays)


def test_groups_of_two_to_six_become_clusters_and_larger_ones_do_not():
    x_um = np.concatenate((np.arange(2) * 8.0, 100 + np.arange(7) * 8.0, [300.0], 400 + np.arange(6) * 8.0))
    groups = group_cells(np.zeros(len(x_um)), x_um, np.full(len(x_um), 8.0), 1.0)
    assert groups.members.tolist() == [2]
    assert groups.x_um.tolist() == [4.0]
    assert groups.diameter_um.tolist() == [16.0]
    assert groups.group.tolist() == [0, 0, *[-1] * 14]
    assert groups.crowded.tolist() == [False] * 2 + [True] * 7 + [False] + [True] * 6


@pytest.mark.parametrize(("gap_um", "members"), [(0.5, []), (1.5, [2])])
def test_cells_touch_within_the_gap(gap_um, members):
    groups = group_cells(np.zeros(2), np.array([0.0, 9.0]), np.array([10.0, 6.0]), gap_um)
    assert groups.members.tolist() == members


def test_no_cells_give_no_groups():
    groups = group_cells(np.empty(0), np.empty(0), np.empty(0), 1.0)
    assert len(groups.group) == len(groups.members) == len(groups.crowded) == 0


@pytest.mark.parametrize("sigma", [0.6, 1.4, 3.0])
def test_blur_is_that_of_scipy(sigma):
    plane = np.random.default_rng(1).normal(size=(40, 50)).astype(np.float32)
    radius = max(1, int(np.ceil(3 * sigma)))
    wanted = ndimage.gaussian_filter(plane.astype(float), sigma, mode="nearest", radius=radius)
    np.testing.assert_allclose(blur(torch.from_numpy(plane)[None], sigma)[0].numpy(), wanted, atol=1e-5)


def test_opening_is_that_of_scipy():
    plane = np.random.default_rng(2).normal(size=(20, 31)).astype(np.float32)
    wanted = ndimage.maximum_filter(ndimage.minimum_filter(plane, 3, mode="nearest"), 3, mode="nearest")
    np.testing.assert_array_equal(opened(torch.from_numpy(plane)[None])[0].numpy(), wanted)


def test_scales_span_the_range():
    diameters = scale_diameters_um((4.0, 16.0))
    assert diameters[0] == 4
    assert diameters[-1] == pytest.approx(16)
