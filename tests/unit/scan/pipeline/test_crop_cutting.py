"""Crops cut from a frame are those that the resampler of training makes of the same place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.resampling import resample_crop
from ctcnet.scan.pipeline.crop_cutting import CropCutter, cut_patches

pytestmark = pytest.mark.unit


def frame(seed: int = 0, channels: int = 2, height: int = 120, width: int = 150) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (channels, height, width)).astype(np.float32)


@settings(max_examples=30)
@given(st.sampled_from([(0.64, 0.64), (0.591, 0.64), (0.64, 0.5), (1.0, 0.64), (0.3, 0.64)]), st.integers(0, 2**16))
def test_a_crop_is_what_the_resampler_makes_of_the_patch(sizes, seed):
    pixel_size_um, target_um = sizes
    counts = frame(seed)
    cutter = CropCutter(pixel_size_um, target_um, 16)
    x_px, y_px = 75.0, 60.0
    (crop,) = cutter.cut(torch.from_numpy(counts), np.array([x_px]), np.array([y_px]), np.zeros(2)).numpy()
    patch_px = cutter.patch_px
    left, top = (int(np.rint(place - (patch_px - 1) / 2)) for place in (x_px, y_px))
    patch = counts[:, top : top + patch_px, left : left + patch_px].astype(np.uint16)
    np.testing.assert_allclose(crop, resample_crop(patch, pixel_size_um, target_um, 16), atol=1)


def test_at_the_models_scale_pixels_are_copied():
    counts = frame()
    crops = CropCutter(0.64, 0.64, 8).cut(torch.from_numpy(counts), np.array([20.0]), np.array([30.0]), np.zeros(2))
    np.testing.assert_array_equal(crops[0].numpy(), counts[:, 26:34, 16:24])


def test_beyond_the_frame_is_filled():
    counts = frame()
    patches = cut_patches(torch.from_numpy(counts), np.array([0.0]), np.array([0.0]), 5, np.array([7.0, 9.0])).numpy()
    np.testing.assert_array_equal(patches[0, :, 2:, 2:], counts[:, :3, :3])
    assert (patches[0, 0, :2] == 7).all()
    assert (patches[0, 1, :, :2] == 9).all()


def test_frames_smaller_than_a_patch_and_no_events():
    counts = frame(height=4, width=4)
    patches = cut_patches(torch.from_numpy(counts), np.array([1.5]), np.array([1.5]), 8, np.zeros(2)).numpy()
    np.testing.assert_array_equal(patches[0, :, 2:6, 2:6], counts)
    assert CropCutter(0.64, 0.5, 8).cut(torch.from_numpy(frame()), np.zeros(0), np.zeros(0), np.zeros(2)).shape == (
        0,
        2,
        8,
        8,
    )


def test_counts_are_whole_and_not_negative():
    counts = torch.full((1, 40, 40), -3.4)
    crops = CropCutter(0.64, 0.5, 8).cut(counts, np.array([20.0]), np.array([20.0]), np.zeros(1))
    assert (crops == 0).all()
