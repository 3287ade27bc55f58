"""Spillover undone in counts: about each channel's background, with saturated pixels left."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctcnet.scan.preprocess.quality import SATURATED_SHARE
from ctcnet.scan.preprocess.unmixing import undo_spillover

pytestmark = pytest.mark.unit

FULL_SCALE = 4095
SHARE = 0.2
MIXING = np.array([[1, 0, 0], [0, 1, 0], [0, SHARE, 1]])  # the second channel shows in the third
UNMIXING = torch.as_tensor(np.linalg.inv(MIXING), dtype=torch.float32)


def _signal() -> np.ndarray:
    """Cells in counts above background, (3, 60, 60): one of the second channel, one of the third, one of both."""
    signal = np.zeros((3, 60, 60))
    signal[1, 10:20, 10:20] = 900
    signal[2, 10:20, 40:50] = 40
    signal[1:, 40:50, 10:20] = 500
    return signal


@pytest.mark.parametrize("high", [100, 600, 2500])
def test_signal_and_background_stay_however_high_another_background_is(high: float) -> None:
    signal, background = _signal(), np.array([200, high, 50])[:, None, None]
    counts = background + np.einsum("ij,jhw->ihw", MIXING, signal)
    own = undo_spillover(torch.as_tensor(counts, dtype=torch.float32), UNMIXING, FULL_SCALE)
    np.testing.assert_allclose(own.numpy(), background + signal, atol=0.01)


def test_saturated_pixels_stay_as_they_are() -> None:
    counts = torch.full((3, 60, 60), 100.0)
    counts[2, 5:10, 5:10] = FULL_SCALE
    counts[1, 5:10, 5:10] = 1500
    limit = SATURATED_SHARE * FULL_SCALE
    own = undo_spillover(counts, UNMIXING, FULL_SCALE)
    assert torch.equal(own >= limit, counts >= limit)
    assert (own[2, 5:10, 5:10] == FULL_SCALE).all()


def test_nothing_falls_below_zero() -> None:
    counts = torch.full((3, 60, 60), 10.0)
    counts[1, 5:10, 5:10] = 1000
    own = undo_spillover(counts, UNMIXING, FULL_SCALE)
    assert own.min() == 0
    assert (own[2, 20:] == 10).all()
