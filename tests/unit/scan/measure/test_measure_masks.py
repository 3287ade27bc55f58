"""Flooding, opening, outlines, nearness and smoothing against scipy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import perimeter_crofton
from skimage.morphology import disk

from ctcnet.scan.measure.masks import flood, opened, perimeter_px
from ctcnet.scan.measure.neighbours import CLOSEST_SHARE, Place, find_neighbours, own_territory
from ctcnet.scan.measure.patches import (
    barred,
    clear_outermost,
    cut_patches,
    exceeds,
    pixel_count,
    smooth,
    weight,
    widest,
)

pytestmark = pytest.mark.unit


def random_masks(seed, count=5, height=17, width=23, share=0.6) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return clear_outermost(torch.from_numpy(rng.random((count, height, width)) < share))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 0.8))
def test_flood_finds_what_is_connected_to_the_seeds(seed, share):
    allowed, seeds = random_masks(seed, share=share), random_masks(seed + 1, share=0.03)
    reached = flood(seeds.to(torch.uint8), allowed.to(torch.uint8)).bool().numpy()
    for mask, seed_mask, found in zip(allowed.numpy(), seeds.numpy(), reached, strict=True):
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        wanted = np.isin(labels, np.setdiff1d(labels[seed_mask & mask], 0))
        np.testing.assert_array_equal(found, wanted)


def test_flood_keeps_bits_apart():
    one, other = random_masks(1).to(torch.uint8), random_masks(2).to(torch.uint8)
    seeds = random_masks(3, share=0.1).to(torch.uint8)
    both = flood(seeds * 3, one + 2 * other)
    assert torch.equal(both & 1, flood(seeds, one))
    assert torch.equal(both >> 1, flood(seeds, other))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), reach=st.integers(0, 2))
def test_opening_is_that_of_scipy(seed, reach):
    masks = random_masks(seed, share=0.85)
    for k in range(1, reach + 1):  # stay clear of the border, where conventions differ
        masks[:, k] = masks[:, -1 - k] = False
        masks[:, :, k] = masks[:, :, -1 - k] = False
    found = opened(masks.to(torch.uint8), reach).bool().numpy()
    square = np.ones((1, 2 * reach + 1, 2 * reach + 1))
    np.testing.assert_array_equal(found, ndimage.binary_opening(masks.numpy(), square))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_outline_is_that_of_scikit_image(seed):
    masks = random_masks(seed)
    wanted = [perimeter_crofton(mask, directions=4) for mask in masks.numpy()]
    np.testing.assert_allclose(perimeter_px(masks).numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("radius", [5, 9, 14])
def test_outline_of_a_disc(radius):
    mask = torch.from_numpy(np.pad(disk(radius), 2).astype(bool))[None]
    assert float(perimeter_px(mask)) == pytest.approx(2 * np.pi * radius, rel=0.1)


def test_smooth_is_the_binomial_filter():
    values = torch.randn(2, 3, 12, 14)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    wanted = ndimage.convolve(values.numpy(), kernel[None, None], mode="nearest")
    np.testing.assert_allclose(smooth(values).numpy()[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-6)


def test_widest_is_the_maximum_filter():
    values = torch.rand(3, 15, 13)
    values[:, [0, -1]] = 0
    values[:, :, [0, -1]] = 0
    wanted = ndimage.maximum_filter(values.numpy(), (1, 3, 3), mode="constant")
    np.testing.assert_allclose(widest(values, 1).numpy()[:, 1:-1, 1:-1], wanted[:, 1:-1, 1:-1])


def test_patches_lie_in_the_image():
    image = torch.arange(2 * 30 * 40, dtype=torch.float32).view(2, 30, 40)
    cut = cut_patches(image, torch.tensor([0, 20, 39]), torch.tensor([0, 15, 29]), 5)
    assert cut.counts.shape == (2, 3, 11, 11)
    for i in range(3):
        top, left = int(cut.top[i]), int(cut.left[i])
        assert torch.equal(cut.counts[:, i], image[:, top : top + 11, left : left + 11])


def test_a_mask_is_cut_off_only_where_the_image_goes_on():
    image = torch.zeros(1, 30, 40)
    cut = cut_patches(image, torch.tensor([0, 20]), torch.tensor([0, 15]), 5)  # at the upper left corner; in the middle
    for row, column, wanted in [(1, 5, [0, 1]), (9, 5, [1, 1]), (5, 1, [0, 1]), (5, 9, [1, 1]), (5, 5, [0, 0])]:
        mask = torch.zeros(2, 11, 11, dtype=torch.bool)
        mask[:, row, column] = True
        assert cut.cut_off(mask).tolist() == [bool(side) for side in wanted], (row, column)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_masks_as_numbers(seed):
    mask = random_masks(seed)
    assert torch.equal(weight(mask), mask.float())
    assert torch.equal(pixel_count(mask), mask.float().sum((1, 2)))
    kept = torch.full(mask.shape, 3.0) + barred(weight(mask))
    assert torch.equal(kept, torch.where(mask, 3.0, -torch.inf))
    values = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, mask.shape).astype(np.float32))
    assert torch.equal(exceeds(values, values[:, :1, :1]), values > values[:, :1, :1])


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_territories_share_no_pixel_and_hold_their_centres(seed):
    rng = np.random.default_rng(seed)
    count, size = 6, 41
    x, y = rng.uniform(5, 35, (2, count)).astype(np.float32)
    radius = rng.uniform(3, 12, count).astype(np.float32)
    found = find_neighbours(x, y, radius, 200.0)
    assert found.index.shape == (count, count - 1)
    assert not (found.index == np.arange(count)[:, None]).any()
    nearest = np.array([min(np.hypot(x[i] - x[j], y[i] - y[j]) for j in range(count) if j != i) for i in range(count)])
    np.testing.assert_allclose(found.radius_px, np.minimum(radius, CLOSEST_SHARE * nearest), rtol=1e-5)
    beside = np.stack([values[found.index] for values in (x, y, found.radius_px)])
    known = torch.ones((count, count - 1), dtype=torch.bool)
    tensors = [torch.from_numpy(np.ascontiguousarray(v)) for v in (x, y, found.radius_px, beside)]
    own = own_territory(Place(*tensors, known, size, size)).numpy()
    rows, columns = np.mgrid[:size, :size]
    power = (columns - x[:, None, None]) ** 2 + (rows - y[:, None, None]) ** 2 - found.radius_px[:, None, None] ** 2
    clear = np.sort(power, 0)[1] - np.sort(power, 0)[0] > 1e-2
    assert (own.sum(0)[clear] == 1).all()
    np.testing.assert_array_equal(own.argmax(0)[clear], power.argmin(0)[clear])
    for i in range(count):
        if nearest[i] > 4:
            assert own[i, round(float(y[i])), round(float(x[i]))]


def test_far_events_are_no_neighbours():
    found = find_neighbours(np.float32([0, 5, 100]), np.float32([0, 0, 0]), np.float32([1, 1, 1]), 20.0)
    np.testing.assert_array_equal(found.index, [[1], [0], [3]])
    assert find_neighbours(np.float32([1]), np.float32([1]), np.float32([1]), 20.0).index.shape == (1, 0)
