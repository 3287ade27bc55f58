"""Camera: noise variance, saturation, bleed-through."""

from __future__ import annotations

import pytest
import torch

from ctcnet.panel import load_panel
from ctcnet.simulate import camera
from ctcnet.simulate.draws import Draws

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("signal_e", [0.0, 50.0, 5000.0])
@pytest.mark.parametrize("gain", [0.5, 4.4])
def test_variance_is_shot_plus_read_noise(signal_e: float, gain: float) -> None:
    draws = Draws.from_seed(0, torch.device("cpu"))
    read, per_count, offset = torch.full((8, 1), 8.0), torch.full((8, 1), gain), torch.full((8, 1), 200.0)
    counts = camera.expose(torch.full((8, 1, 64, 64), signal_e), read, per_count, offset, 65535, draws).double()
    expected = (signal_e + 64.0) / gain**2 + 1 / 12  # rounding adds a twelfth
    assert float(counts.var()) == pytest.approx(expected, rel=0.04)
    assert float(counts.mean()) == pytest.approx(200 + signal_e / gain, abs=6 * (expected / 32768) ** 0.5 + 0.01)


def test_counts_are_clipped_to_the_bit_depth() -> None:
    draws = Draws.from_seed(0, torch.device("cpu"))
    one = torch.ones((1, 1))
    bright = camera.expose(torch.full((1, 1, 8, 8), 1e6), one, one, one, 4095, draws)
    dark = camera.expose(torch.full((1, 1, 8, 8), 0.0), one, one, -100 * one, 4095, draws)
    assert bright.dtype == torch.uint16
    assert set(bright.flatten().tolist()) == {4095}
    assert set(dark.flatten().tolist()) == {0}


def test_bleed_through_adds_the_stated_share_of_the_other_channel() -> None:
    signal = torch.zeros(1, 2, 4, 4)
    signal[0, 0] = 1000.0
    mixed = camera.bleed_through(signal, torch.tensor([[[1.0, 0.0], [0.03, 1.0]]]))
    assert float(mixed[0, 1].mean()) == pytest.approx(30.0)
    assert float(mixed[0, 0].mean()) == pytest.approx(1000.0)


def test_twelve_bit_camera_takes_about_four_electrons_per_count() -> None:
    assert camera.electrons_per_count(load_panel("ctc5")).tolist() == pytest.approx([4.4] * 5, rel=0.01)
