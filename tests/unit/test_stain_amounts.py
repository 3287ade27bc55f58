import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.stain_amounts import BRIGHTEST_BLOCK, MEAN, MEAN_POSITIVE, NUM_AMOUNTS, stain_amounts

pytestmark = pytest.mark.unit

BLOCK_PX = 4
RINGS = 4


def _signed_log(values: list[float]) -> np.ndarray:
    return np.sign(values) * np.log1p(10 * np.abs(values))


def _expected(picture: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Logarithms, extent and border of one channel (H, W), written out in numpy."""
    h, w = (edge // BLOCK_PX for edge in picture.shape)
    blocks = picture.reshape(h, BLOCK_PX, w, BLOCK_PX).mean(axis=(1, 3))
    sides = sorted([blocks[0].mean(), blocks[-1].mean(), blocks[:, 0].mean(), blocks[:, -1].mean()])
    border = (sides[1] + sides[2]) / 2
    above = np.maximum(blocks - border, 0)
    y, x = (2 * (np.arange(edge) + 0.5) / edge - 1 for edge in (h, w))
    ring = (np.minimum(np.hypot(y[:, None], x[None]), 0.999) * RINGS).astype(int)
    rings = [blocks[ring == k].mean() - border if (ring == k).any() else -border for k in range(RINGS)]
    amounts = [blocks.mean(), border, blocks.mean() - border, above.mean(), np.sqrt((above**2).mean() + 1e-8)]
    amounts += [above.max(), picture.max() - border, *rings]
    return _signed_log(amounts), above.mean() ** 2 / ((above**2).mean() + 1e-6), border


@given(seed=st.integers(0, 10_000), h=st.integers(3, 7), w=st.integers(3, 7))
@settings(max_examples=40, deadline=None)
def test_amounts_are_what_numpy_finds(seed, h, w):
    rng = np.random.default_rng(seed)
    pictures = rng.gamma(0.5, 2.0, (2, 3, h * BLOCK_PX, w * BLOCK_PX)) - 0.7
    found = stain_amounts(torch.from_numpy(pictures), BLOCK_PX)
    assert found.logs.shape == (2, 3, NUM_AMOUNTS)
    for crop in range(2):
        for channel in range(3):
            logs, extent, border = _expected(pictures[crop, channel])
            np.testing.assert_allclose(found.logs[crop, channel], logs, rtol=1e-5, atol=1e-5)  # weights are float32
            assert found.extent[crop, channel].item() == pytest.approx(extent, rel=1e-4)
            assert found.border[crop, channel].item() == pytest.approx(border, rel=1e-5, abs=1e-6)


def test_places_are_those_of_the_amounts_that_they_name():
    picture = torch.zeros(1, 1, 20, 20)
    picture[0, 0, 8:12, 8:12] = 5.0
    picture[0, 0, 9, 9] = 7.0
    logs = stain_amounts(picture, BLOCK_PX).logs[0, 0].numpy()
    brightest = (15 * 5.0 + 7.0) / 16
    np.testing.assert_allclose(logs[[MEAN, MEAN_POSITIVE]], _signed_log([brightest / 25] * 2), rtol=1e-6)
    np.testing.assert_allclose(logs[[BRIGHTEST_BLOCK, BRIGHTEST_BLOCK + 1]], _signed_log([brightest, 7.0]), rtol=1e-6)
