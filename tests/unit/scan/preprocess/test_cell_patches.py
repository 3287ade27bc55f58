"""Windows around cells, against brute force and formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from ctcnet.scan.preprocess import cell_patches
from ctcnet.scan.preprocess.cell_patches import (
    diameters_px,
    disc_means,
    distance_to_events_px,
    has_no_neighbour,
    is_whole,
    radial_profiles,
)

pytestmark = pytest.mark.unit

place = st.tuples(st.floats(12, 37, width=32), st.floats(12, 27, width=32))


@settings(max_examples=40)
@given(places=st.lists(place, min_size=1, max_size=5), radius_px=st.floats(1, 8), inner=st.floats(-1, 0.5))
def test_disc_means_equal_those_over_a_mask(places, radius_px, inner):
    image = np.random.default_rng(0).random((2, 40, 50)).astype(np.float32)
    x_px, y_px = np.array(places, np.float32).T
    means = disc_means(torch.from_numpy(image), x_px, y_px, radius_px, inner * radius_px)
    rows, columns = np.mgrid[:40, :50]
    for x, y, found in zip(x_px.astype(float), y_px.astype(float), means, strict=True):
        distance = np.hypot(columns - x, rows - y)
        mask = (distance <= radius_px) & (distance > inner * radius_px)
        assert found == pytest.approx(image[:, mask].mean(axis=1), rel=1e-4)


@pytest.mark.parametrize("measure", [disc_means, radial_profiles])
def test_crowds_are_measured_in_parts(measure, monkeypatch):
    """A frame of 100,000 cells must not take the memory of all their windows at once."""
    rng = np.random.default_rng(1)
    image = torch.from_numpy(rng.random((2, 60, 60)).astype(np.float32))
    image = image if measure is disc_means else image[0]
    x_px, y_px = rng.uniform(12, 47, (2, 11))
    whole = measure(image, x_px, y_px, 6)
    held, windows = [], cell_patches._windows

    def recorded(counts, x_px, y_px, radius_px):
        held.append(len(x_px))
        return windows(counts, x_px, y_px, radius_px)

    monkeypatch.setattr(cell_patches, "CELLS_AT_ONCE", 4)
    monkeypatch.setattr(cell_patches, "_windows", recorded)
    assert measure(image, x_px, y_px, 6) == pytest.approx(whole, rel=1e-6)
    assert held == [4, 4, 3]


def test_no_points_give_no_rows():
    image = torch.zeros((3, 20, 20))
    nothing = np.zeros(0, np.float32)
    assert disc_means(image, nothing, nothing, 2).shape == (0, 3)
    assert radial_profiles(image[0], nothing, nothing, 5).shape == (0, 5)


def test_whole_discs_never_reach_over_the_border():
    x_px, y_px = (axis.ravel().astype(np.float32) for axis in np.meshgrid(np.arange(30), np.arange(20)))
    whole = is_whole(x_px, y_px, (20, 30), 4.2)
    assert 0 < whole.sum() < len(whole)
    disc_means(torch.zeros((1, 20, 30)), x_px[whole], y_px[whole], 4.2)
    assert not whole[(x_px < 5) | (y_px < 5) | (x_px > 24) | (y_px > 14)].any()


@given(st.floats(12, 27), st.floats(12, 17), st.integers(1, 10))
def test_rings_hold_the_pixels_of_their_distance(x_px, y_px, radius_px):
    image = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    rows, columns = np.mgrid[:30, :40]
    distance = np.hypot(rows - y_px, columns - x_px)
    rings = [image[(distance >= radius) & (distance < radius + 1)] for radius in range(radius_px)]
    expected = [ring.mean() if len(ring) else 0 for ring in rings]
    profile = radial_profiles(torch.from_numpy(image), np.array([x_px]), np.array([y_px]), radius_px)
    np.testing.assert_allclose(profile[0], expected, rtol=1e-5)


@pytest.mark.parametrize("sigma_px", [2.5, 4.0])
def test_the_diameter_of_a_gaussian_spot_is_that_of_the_formula(sigma_px):
    rows, columns = np.mgrid[:81, :81]
    image = np.exp(-((rows - 40.3) ** 2 + (columns - 39.6) ** 2) / (2 * sigma_px**2)).astype(np.float32)
    profile = radial_profiles(torch.from_numpy(image), np.array([39.6]), np.array([40.3]), 20)
    expected = 2 * sigma_px * math.sqrt(2 * math.log(1 / 0.4))
    assert diameters_px(profile, 0.4) == pytest.approx([expected], rel=0.06)


def test_profiles_that_never_fall_have_no_diameter():
    profiles = np.array([[1.0, 1.0, 1.0], [-1.0, -2.0, -3.0], [2.0, 1.0, 0.0]])
    found = diameters_px(profiles, 0.4)
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(2 * (2 - 0.5 + (1 - 0.8) / 1))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20, unique=True), st.floats(1, 30))
def test_neighbours_are_those_of_all_distances(places, distance_px):
    points = np.array(places, np.float32).reshape(-1, 2)
    distances = cdist(points, points) if len(points) else np.zeros((0, 0))
    np.fill_diagonal(distances, np.inf)
    expected = ~(distances <= distance_px).any(axis=1)
    assert np.array_equal(has_no_neighbour(points[:, 0], points[:, 1], distance_px), expected)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 59), st.floats(0, 39)), min_size=1, max_size=6))
def test_distances_to_events_are_right_within_a_step(places):
    points = np.array(places)
    found = distance_to_events_px(points[:, 0], points[:, 1], (40, 60), 3)
    rows, columns = np.mgrid[:40:3, :60:3]
    expected = cdist(np.column_stack([columns.ravel(), rows.ravel()]), points).min(axis=1).reshape(rows.shape)
    assert np.abs(found - expected).max() <= 3 * math.sqrt(2)


def test_without_events_everything_is_far():
    assert np.isinf(distance_to_events_px(np.zeros(0), np.zeros(0), (10, 10), 3)).all()
