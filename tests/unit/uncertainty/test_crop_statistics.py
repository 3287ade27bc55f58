import numpy as np
import pytest
import torch

from ctcnet.normalization import INPUT_LIMIT
from ctcnet.stain_amounts import BRIGHTEST_BLOCK, MEAN, NUM_AMOUNTS, stain_amounts
from ctcnet.uncertainty import crop_statistics, num_crop_statistics
from ctcnet.uncertainty.crop_statistics import CONTRAST, NUM_PER_CHANNEL

pytestmark = pytest.mark.unit

EXTENT, BETWEEN, STEPS, NOISE = range(NUM_AMOUNTS, NUM_PER_CHANNEL)
HIGHEST, STRUCTURE, BRIGHTNESS, LOWEST, ALIKE, CLOSEST = range(6)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_length_grows_with_the_channels(channels):
    found = crop_statistics(torch.randn(3, channels, 16, 24))
    assert found.shape == (3, num_crop_statistics(channels))
    assert torch.isfinite(found).all()


def test_variances_are_what_numpy_finds(make_cells):
    x = make_cells(4)
    found = crop_statistics(x)[:, :NUM_PER_CHANNEL].numpy()
    amounts = stain_amounts(x, 4)
    np.testing.assert_allclose(found[:, :NUM_AMOUNTS], amounts.logs[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found[:, EXTENT], amounts.extent[:, 0, 0], rtol=1e-6)
    for crop, row in zip(x.numpy()[:, 0], found, strict=True):
        blocks = crop.reshape(4, 4, 4, 4).mean(axis=(1, 3))
        assert row[BETWEEN] == pytest.approx(np.log(blocks.var() + 1e-4), rel=1e-4)
        assert row[STEPS] == pytest.approx(np.log((np.diff(blocks) ** 2).mean() + 1e-4), rel=1e-4)
        rows = crop[::8]
        assert row[NOISE] == pytest.approx(np.log(((rows[:, 1::4] - rows[:, 0:-1:4]) ** 2).mean() + 1e-4), rel=1e-4)


def test_numbers_across_channels_are_those_of_the_channels(make_cells):
    x = torch.cat([make_cells(3), 2 * make_cells(3, seed=1)[:, :1]], dim=1)
    found = crop_statistics(x)
    each, across = found[:, : 3 * NUM_PER_CHANNEL].unflatten(1, (3, -1)), found[:, 3 * NUM_PER_CHANNEL :]
    torch.testing.assert_close(across[:, HIGHEST], each[:, :, BRIGHTEST_BLOCK].amax(1))
    torch.testing.assert_close(across[:, LOWEST], each[:, :, BRIGHTEST_BLOCK].amin(1))
    torch.testing.assert_close(across[:, STRUCTURE], (each[:, :, BETWEEN] - each[:, :, NOISE]).amax(1))
    torch.testing.assert_close(across[:, BRIGHTNESS], each[:, :, MEAN].amax(1))
    for crop, row in zip(stain_amounts(x, 4).blocks.flatten(2).numpy().astype(float), across.numpy(), strict=True):
        deviation = np.sqrt(crop.var(axis=1) + 1e-4)
        pairs = (np.cov(crop, bias=True) / np.outer(deviation, deviation))[np.triu_indices(3, 1)]
        np.testing.assert_allclose(row[[ALIKE, CLOSEST]], [pairs.mean(), pairs.max()], rtol=1e-4)


def test_contrast_is_the_clearest_block_in_deviations_of_the_noise_of_blocks(make_cells):
    x = make_cells(3)
    amounts = stain_amounts(x, 4)
    for crop, blocks, border, found in zip(
        x, amounts.blocks, amounts.border, crop_statistics(x)[:, CONTRAST], strict=True
    ):
        rows = crop.numpy()[:, ::8]
        noise = ((rows[:, :, 1::4] - rows[:, :, 0:-1:4]) ** 2).mean(axis=(1, 2)) / 2  # of one pixel
        height = np.abs(blocks.numpy() - border.numpy()[:, :, None]).max(axis=(1, 2))
        assert float(found) == pytest.approx((height / np.sqrt(noise / 16 + 1e-4)).max(), rel=1e-4)


def test_noise_has_little_contrast_and_a_hole_as_much_as_a_blob():
    grid = torch.arange(64) - 31.5
    blob = torch.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / 72)
    noise = torch.randn(50, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    for deviation in (0.05, 1.0, 20.0):
        assert (crop_statistics(deviation * noise)[:, CONTRAST] < 6.5).all()
    bright, dark = (crop_statistics(0.1 * noise + sign * blob)[:, CONTRAST] for sign in (1, -1))
    assert (bright > 12).all()
    torch.testing.assert_close(dark, bright, rtol=0.35, atol=0)
    assert (crop_statistics(torch.zeros(2, 3, 64, 64))[:, CONTRAST] == 0).all()


def test_a_channel_that_repeats_another_correlates_fully(make_cells):
    x = make_cells(2)
    same = torch.cat([x[:, :1], x[:, :1]], dim=1)
    across = crop_statistics(same)[:, 2 * NUM_PER_CHANNEL :]
    assert (across[:, ALIKE] > 0.97).all()
    torch.testing.assert_close(across[:, ALIKE], across[:, CLOSEST])


def test_a_speck_beyond_the_limit_counts_as_the_limit(make_cells):
    x = make_cells(1)
    x[0, 0, 5, 5] = INPUT_LIMIT
    brighter = x.clone()
    brighter[0, 0, 5, 5] = 1e4
    torch.testing.assert_close(crop_statistics(x), crop_statistics(brighter))


def test_empty_and_constant_crops_are_finite():
    for value in (0.0, 1.0, 1e4):
        assert torch.isfinite(crop_statistics(torch.full((2, 3, 16, 16), value))).all()
