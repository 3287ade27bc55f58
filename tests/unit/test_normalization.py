import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import block_reduce

from ctcnet.errors import SettingError
from ctcnet.normalization import BLOCK_PX, check_mode, fixed_levels, normalize, per_crop_levels, scale_floor

pytestmark = pytest.mark.unit


def _counts(seed: int = 0, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (count, 2, 16, 20)).astype(np.uint16)


def test_normalize_maps_background_to_0_and_level_to_1():
    counts = np.array([[[[100.0, 150.0]]]], np.float32)
    np.testing.assert_allclose(normalize(counts, np.array([100.0]), np.array([50.0])), [[[[0, 1]]]])


def test_normalize_takes_levels_per_crop_and_is_the_same_in_torch():
    counts = _counts().astype(np.float32)
    background = np.random.default_rng(1).uniform(0, 100, (3, 2)).astype(np.float32)
    scale = np.random.default_rng(2).uniform(10, 100, (3, 2)).astype(np.float32)
    expected = normalize(counts, background, scale)
    tensors = [torch.from_numpy(array) for array in (counts, background, scale)]
    np.testing.assert_allclose(normalize(*tensors).numpy(), expected, rtol=1e-6)


def test_per_crop_levels_agree_with_scikit_image_block_means():
    counts = _counts()
    background, scale = per_crop_levels(counts, floor=1)
    means = block_reduce(counts, (1, 1, BLOCK_PX, BLOCK_PX), np.mean)
    np.testing.assert_allclose(background, means.min(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(scale, means.max(axis=(2, 3)) - means.min(axis=(2, 3)), rtol=1e-4)


def test_an_empty_channel_is_not_blown_up():
    _, scale = per_crop_levels(np.full((1, 1, 8, 8), 12, np.uint16), floor=scale_floor(4095))
    assert scale[0, 0] == pytest.approx(4095 / 64)


@given(gain=st.floats(0.5, 4), offset=st.floats(0, 500))
@settings(max_examples=20)
def test_per_crop_levels_follow_gain_and_offset(gain, offset):
    counts = _counts().astype(np.float32)
    background, scale = per_crop_levels(counts, floor=1e-3)
    moved_background, moved_scale = per_crop_levels(counts * gain + offset, floor=1e-3)
    np.testing.assert_allclose(moved_background, background * gain + offset, rtol=1e-3)
    np.testing.assert_allclose(moved_scale, scale * gain, rtol=1e-2)


def test_fixed_levels_are_medians_over_crops():
    counts = _counts(count=5)
    background, scale = fixed_levels(counts, floor=1)
    each = per_crop_levels(counts, floor=1)
    np.testing.assert_allclose(background, np.median(each[0], axis=0))
    np.testing.assert_allclose(scale, np.median(each[1], axis=0))


def test_crop_size_that_is_no_multiple_of_the_block_is_refused():
    with pytest.raises(SettingError, match="multiple"):
        per_crop_levels(np.zeros((1, 1, 10, 8)), 1)


def test_unknown_mode_lists_the_modes():
    with pytest.raises(SettingError, match="per_crop"):
        check_mode("zscore")


def test_shared_scale_is_the_largest_of_a_crops_channels() -> None:
    counts = np.random.default_rng(1).integers(0, 250, (5, 3, 16, 16))
    background, scale = per_crop_levels(counts, floor=1)
    own_background, shared = per_crop_levels(counts, floor=1, shared_scale=True)
    np.testing.assert_array_equal(own_background, background)
    np.testing.assert_array_equal(shared, np.repeat(scale.max(1, keepdims=True), 3, 1))
