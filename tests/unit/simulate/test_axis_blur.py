"""Blur along axes: equal to the plain blur without effects, exact shifts, widths and motion; flux is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ctcnet.simulate.axis_blur import blur_axes
from ctcnet.simulate.optics import CANVAS_VARIANCE, blur, blur_matrices

pytestmark = pytest.mark.unit
SIZE, MARGIN = 24, 6


def _point() -> Tensor:
    canvas = torch.zeros((1, 1, SIZE + 2 * MARGIN, SIZE + 2 * MARGIN))
    canvas[..., 18, 17] = 1.0
    return canvas


def _blurred(sigma: tuple[float, float], shift: tuple[float, float], motion: tuple[float, float]) -> Tensor:
    options = (torch.tensor(values)[None, None] for values in (sigma, shift, motion))
    return blur_axes(_point(), *options, SIZE, MARGIN)[0, 0]


def _moments(image: Tensor, axis: int) -> tuple[float, float]:
    line = image.sum(1 - axis)
    place = torch.arange(len(line))
    mean = float((line * place).sum() / line.sum())
    return mean, float((line * (place - mean).square()).sum() / line.sum())


def test_without_effects_it_is_the_plain_blur() -> None:
    plain = blur(_point(), blur_matrices(torch.tensor([[0.9]]), SIZE, MARGIN))[0, 0]
    torch.testing.assert_close(_blurred((0.9, 0.9), (0.0, 0.0), (0.0, 0.0)), plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-1.3, 0.25), (1.5, -1.5)])
def test_a_shift_moves_and_does_not_widen(shift: tuple[float, float]) -> None:
    image = _blurred((0.9, 0.9), shift, (0.0, 0.0))
    assert float(image.sum()) == pytest.approx(1, abs=1e-4)
    for axis, moved, start in ((1, shift[0], 17 - MARGIN), (0, shift[1], 18 - MARGIN)):
        mean, variance = _moments(image, axis)
        assert mean - start == pytest.approx(moved, abs=1e-3)
        assert variance == pytest.approx(0.81 - CANVAS_VARIANCE, abs=0.01)


def test_axes_have_their_own_width_and_motion() -> None:
    image = _blurred((1.5, 0.8), (0.0, 0.0), (0.0, 3.0))
    assert _moments(image, 1)[1] == pytest.approx(2.25 - CANVAS_VARIANCE, abs=0.02)
    assert _moments(image, 0)[1] == pytest.approx(0.64 - CANVAS_VARIANCE + 9 / 12, abs=0.15)
