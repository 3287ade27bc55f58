"""Point-spread function of a wide-field microscope, defocus, and blurring of whole batches by matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MEDIUM_INDEX = 1.33
"""Refractive index of the aqueous mount that the cells lie in."""

PIXEL_VARIANCE = 1.0 / 12.0
"""Variance, in square pixels, that integrating over a square pixel adds."""

CANVAS_VARIANCE = 0.12
"""Variance, in square pixels, with which a point is spread on a canvas, so that it keeps its place between pixels."""

LEAST_WEIGHT = 1e-12
"""Weights of a kernel below this are 0: denormal numbers would make its products ten times slower."""


def psf_sigma_um(emission_nm: Tensor, numerical_aperture: float, optics_factor: Tensor | float = 1.0) -> Tensor:
    """Standard deviation of the in-focus PSF in um, without pixel integration.

    sigma = 0.21 lambda / NA (Gaussian fitted to the Airy disc; Zhang et al., Applied Optics 46, 1819, 2007), times a
    factor of 1.2 to 1.5 for real optics.
    """
    return 0.21 * emission_nm / 1000.0 / numerical_aperture * optics_factor


def defocus_sigma_um(defocus_um: Tensor, numerical_aperture: float) -> Tensor:
    """Standard deviation in um of the geometric blur disc at `defocus_um`.

    Its radius is defocus * tan(asin(NA / n)), 0.36 * defocus at NA 0.45 in water; a disc of radius r has sigma r / 2.
    """
    return defocus_um.abs() * blur_slope(numerical_aperture) / 2.0


def blur_slope(numerical_aperture: float) -> float:
    """Radius of the geometric blur disc per um of defocus: tan(asin(NA / n)), 0.36 at NA 0.45 in water."""
    return math.tan(math.asin(min(0.95, numerical_aperture / MEDIUM_INDEX)))


def discrete_gaussian(variance: Tensor, length: int) -> Tensor:
    """Gaussian at distances 0 to length - 1 px, (..., length), with unit mass over both sides and exact variance.

    A sampled Gaussian narrower than half a pixel falls short of its variance; what is missing is added by one step of
    diffusion, [d / 2, 1 - d, d / 2].
    """
    distance = torch.arange(length, device=variance.device)
    kernel = torch.exp(-distance.square() / (2 * variance[..., None]))
    kernel = kernel / (2 * kernel.sum(-1, keepdim=True) - kernel[..., :1])
    missing = variance[..., None] - 2 * (kernel * distance.square()).sum(-1, keepdim=True)
    before = torch.cat((kernel[..., 1:2], kernel[..., :-1]), -1)
    after = torch.cat((kernel[..., 1:], torch.zeros_like(kernel[..., :1])), -1)
    kernel = kernel + missing.clamp_min(0) / 2 * (before - 2 * kernel + after)
    return kernel.masked_fill(kernel < LEAST_WEIGHT, 0.0)


def blur_matrices(sigma_px: Tensor, size_px: int, margin_px: int) -> Tensor:
    """Matrices K (..., size_px, size_px + 2 * margin_px) such that K @ canvas @ K.T blurs and cuts the margin off.

    Args:
        sigma_px: standard deviations (...) of the optical PSF in px. The canvas holds objects integrated over pixels
            and spread by `CANVAS_VARIANCE`; the kernel brings the rest of the PSF's variance, so that nothing is
            counted twice.
    """
    source_px = size_px + 2 * margin_px
    kernel = discrete_gaussian((sigma_px.square() - CANVAS_VARIANCE).clamp_min(0.01), source_px)
    target = torch.arange(size_px, device=sigma_px.device)[:, None] + margin_px
    return kernel[..., (target - torch.arange(source_px, device=sigma_px.device)).abs()]


def blur(canvas: Tensor, matrices: Tensor) -> Tensor:
    """Blur (N, C, S + 2m, S + 2m) by separable kernels (N, C, S, S + 2m) -> (N, C, S, S)."""
    return matrices @ canvas @ matrices.transpose(-1, -2)
