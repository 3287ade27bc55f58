"""Optics: width of the PSF on a pixel grid, defocus, and that blurring keeps light."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.optimize import curve_fit

from ctcnet.simulate.objects import Dots
from ctcnet.simulate.optics import (
    CANVAS_VARIANCE,
    blur,
    blur_matrices,
    defocus_sigma_um,
    discrete_gaussian,
    psf_sigma_um,
)
from ctcnet.simulate.stamping import Canvas

pytestmark = pytest.mark.unit
PIXEL_UM = 0.64


def _bead(sigma_px: float, x_um: float, y_um: float) -> np.ndarray:
    canvas = Canvas(1, 1, 33, 6, PIXEL_UM, torch.device("cpu"))
    dot = Dots(
        torch.zeros(1, dtype=torch.int64), torch.tensor([[x_um, y_um]]), torch.tensor([0.02]), torch.full((1, 1), 1e6)
    )
    canvas.add_dots(dot, 0.85)
    return blur(canvas.values, blur_matrices(torch.tensor([[sigma_px]]), 33, 6))[0, 0].double().numpy()


def _integrated_gaussian(grid: np.ndarray, amplitude: float, x: float, y: float, sigma: float) -> np.ndarray:
    def line(centre: float) -> np.ndarray:
        edges = np.arange(34) - 0.5 - 16
        steps = np.array([0.5 * math.erf((edge - centre) / (sigma * math.sqrt(2))) for edge in edges])
        return np.diff(steps)

    return (amplitude * line(y)[:, None] * line(x)[None, :]).ravel()


@pytest.mark.parametrize("sigma_px", [0.7, 1.0, 2.0])
def test_fitted_psf_of_a_bead_has_the_sigma_asked_for(sigma_px: float) -> None:
    image = _bead(sigma_px, 0.2, -0.15)
    start = (image.sum(), 0.3, -0.2, sigma_px)
    fitted, _ = curve_fit(_integrated_gaussian, np.arange(33), image.ravel(), p0=start)
    assert abs(fitted[3]) == pytest.approx(sigma_px, rel=0.08)
    assert fitted[1] * PIXEL_UM == pytest.approx(0.2, abs=0.05)
    assert fitted[2] * PIXEL_UM == pytest.approx(-0.15, abs=0.05)


@pytest.mark.parametrize("sigma_px", [0.4, 0.5, 0.7, 1.5])
def test_second_moment_is_optics_plus_pixel(sigma_px: float) -> None:
    place = np.arange(33) - 16.0
    variances = []
    for phase in np.linspace(-0.5, 0.5, 8, endpoint=False):
        profile = _bead(sigma_px, float(phase) * PIXEL_UM, 0.0).sum(0)
        variances.append((profile * (place - phase) ** 2).sum() / profile.sum())
    assert np.mean(variances) == pytest.approx(sigma_px**2 + 1 / 12, rel=0.03)


@settings(max_examples=20)
@given(variance=st.floats(0.01, 9.0))
def test_discrete_gaussian_has_unit_mass_and_exact_variance(variance: float) -> None:
    half = discrete_gaussian(torch.tensor(variance, dtype=torch.float64), 40).numpy()
    distance = np.arange(40)
    assert 2 * half.sum() - half[0] == pytest.approx(1, abs=1e-5)
    assert 2 * (half * distance**2).sum() == pytest.approx(variance, rel=1e-3, abs=1e-4)


def test_theory_at_na_045_agrees_with_the_field_notes() -> None:
    sigma_px = psf_sigma_um(torch.tensor([461.0, 519.0, 578.0, 660.0]), 0.45) / PIXEL_UM
    torch.testing.assert_close(sigma_px, torch.tensor([0.34, 0.38, 0.42, 0.48]), atol=0.006, rtol=0)
    integrated = (sigma_px.square() + 1 / 12).sqrt()
    torch.testing.assert_close(integrated, torch.tensor([0.44, 0.48, 0.51, 0.56]), atol=0.01, rtol=0)


def test_defocus_blur_is_036_of_the_defocus_in_radius() -> None:
    assert float(defocus_sigma_um(torch.tensor(-10.0), 0.45)) == pytest.approx(10 * 0.36 / 2, rel=0.01)


def test_blur_agrees_with_scipy_where_pixels_are_small() -> None:
    image = torch.rand(2, 3, 60, 60, generator=torch.Generator().manual_seed(0))
    mine = blur(image, blur_matrices(torch.full((2, 3), (4.0 + CANVAS_VARIANCE) ** 0.5), 30, 15))
    theirs = gaussian_filter(image.numpy(), (0, 0, 2.0, 2.0), truncate=6)[:, :, 15:45, 15:45]
    np.testing.assert_allclose(mine.numpy(), theirs, atol=2e-3)


@settings(max_examples=20)
@given(sigma_px=st.floats(0.4, 2.0), x_um=st.floats(-2, 2), y_um=st.floats(-2, 2))
def test_blur_keeps_the_light_and_the_place(sigma_px: float, x_um: float, y_um: float) -> None:
    image = _bead(sigma_px, x_um, y_um)
    mass = 1e6 * 2 * math.pi * (0.02 / PIXEL_UM) ** 2
    assert image.sum() == pytest.approx(mass, rel=0.01)
    place = (np.arange(33) - 16) * PIXEL_UM
    assert (image.sum(0) * place).sum() / image.sum() == pytest.approx(x_um, abs=0.05)
    assert (image.sum(1) * place).sum() / image.sum() == pytest.approx(y_um, abs=0.05)
