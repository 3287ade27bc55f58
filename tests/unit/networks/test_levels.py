"""Torch twin of the per-crop levels."""

import numpy as np
import pytest
import torch

from ctcnet.errors import SettingError
from ctcnet.networks.levels import InputLevels
from ctcnet.normalization import per_crop_levels

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_torch_and_numpy_agree(dtype, shared):
    counts = np.random.default_rng(0).integers(0, 4096, (5, 3, 24, 16)).astype(dtype)
    counts[0, 1] = 7  # a constant channel meets the floor
    background, scale = InputLevels(64.0, shared)(torch.from_numpy(counts))
    expected_background, expected_scale = per_crop_levels(counts, 64.0, shared)
    np.testing.assert_allclose(background.numpy(), expected_background, rtol=1e-6)
    np.testing.assert_allclose(scale.numpy(), expected_scale, rtol=1e-5, atol=1e-3)
    assert (scale[0, 1] == 64.0) != shared


def test_sizes_off_the_block_and_a_floor_of_zero_are_refused():
    with pytest.raises(SettingError, match="multiple of the block"):
        InputLevels(1.0)(torch.zeros(1, 1, 10, 12))
    with pytest.raises(SettingError, match="least scale"):
        InputLevels(0.0)
