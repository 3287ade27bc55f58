import numpy as np
import pytest
import torch

from ctcnet.uncertainty import crop_statistics, num_crop_statistics
from ctcnet.uncertainty.crop_statistics import NUM_PER_CHANNEL

pytestmark = pytest.mark.unit

MEAN, DARKEST, BRIGHTEST, PEAK, BORDER, BETWEEN, STEPS, NOISE, PLATEAU, SPREAD = range(NUM_PER_CHANNEL)


def _signed_log(value: float) -> float:
    return np.sign(value) * np.log1p(10 * abs(value))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_length_grows_with_the_channels(channels):
    found = crop_statistics(torch.randn(3, channels, 16, 24))
    assert found.shape == (3, num_crop_statistics(channels))
    assert torch.isfinite(found).all()


def test_levels_and_noise_are_what_numpy_finds(make_cells):
    x = make_cells(4)
    found = crop_statistics(x)[:, :NUM_PER_CHANNEL].numpy()
    for crop, row in zip(x.numpy()[:, 0], found, strict=True):
        blocks = crop.reshape(4, 4, 4, 4).mean(axis=(1, 3))
        expected = [blocks.mean(), blocks.min(), blocks.max(), crop.max()]
        np.testing.assert_allclose(row[: PEAK + 1], [_signed_log(value) for value in expected], rtol=1e-4, atol=1e-5)
        assert row[BETWEEN] == pytest.approx(np.log(blocks.var() + 1e-4), rel=1e-4)
        rows = crop[::4]
        assert row[NOISE] == pytest.approx(np.log(((rows[:, 1::4] - rows[:, 0:-1:4]) ** 2).mean() + 1e-4), rel=1e-4)


def test_saturation_is_a_plateau(make_cells):
    cells = make_cells(1)
    flat = torch.clamp(cells, max=0.3)
    before, after = crop_statistics(cells)[0], crop_statistics(flat)[0]
    assert before[PLATEAU] < np.log1p(1000 * 6 / 64)
    share = float((flat[0, 0, ::4] >= 0.3).float().mean())
    assert after[PLATEAU] == pytest.approx(np.log1p(1000 * share), rel=0.1)


def test_a_channel_that_repeats_another_correlates_fully(make_cells):
    x = make_cells(2)
    same = torch.cat([x[:, :1], x[:, :1]], dim=1)
    across = crop_statistics(same)[:, 2 * NUM_PER_CHANNEL :]
    assert (across[:, 3] > 0.97).all()
    torch.testing.assert_close(across[:, 3], across[:, 4])


def test_empty_and_constant_crops_are_finite():
    for value in (0.0, 1.0, 1e4):
        assert torch.isfinite(crop_statistics(torch.full((2, 3, 16, 16), value))).all()
