"""Blur that differs between the axes of an image: astigmatism, motion and shifts below a pixel, as one matrix each."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.simulate.draws import Draws
from ctcnet.simulate.optics import CANVAS_VARIANCE, discrete_gaussian

BLUR_CROPS = 16
"""Crops that are blurred at a time."""


def draw_widening(astigmatism: Tensor, draws: Draws) -> Tensor:
    """Factors (N, 2) on the PSF's sigma along x and y of crops anywhere in the field.

    Args:
        astigmatism: (N,) most that the wide axis exceeds the narrow one by, as a share, in the corner of a frame.
    """
    excess = astigmatism * draws.uniform(tuple(astigmatism.shape))
    along_x = draws.chance(tuple(astigmatism.shape), 0.5)
    return 1 + torch.stack((excess * along_x, excess * ~along_x), 1)


def line_kernels(sigma_px: Tensor, shift_px: Tensor, motion_px: Tensor, length: int) -> Tensor:
    """Kernels (..., 2 * length + 1) along one axis, at distances -length to length px, with unit mass.

    A shift by a fraction f of a pixel mixes two neighbours, which brings a variance of f (1 - f); the Gaussian brings
    the rest, so that shifted channels are no blurrier than others wherever the PSF is wide enough.

    Args:
        sigma_px: (...) optical PSF; the canvas holds `CANVAS_VARIANCE` of it already.
        shift_px: (...) towards greater coordinates.
        motion_px: (...) length of the motion during the exposure.
    """
    whole = shift_px.floor()
    part = (shift_px - whole)[..., None]
    variance = (sigma_px.square() - CANVAS_VARIANCE - (part * (1 - part))[..., 0]).clamp_min(0.01)
    half = discrete_gaussian(variance, length + 1)
    kernel = torch.cat((half[..., 1:].flip(-1), half), -1)
    if bool((motion_px > 0).any()):
        kernel = _moved(kernel, motion_px)
    index = torch.arange(kernel.shape[-1], device=kernel.device) - whole[..., None].long()
    first = kernel.gather(-1, index.clamp(0, kernel.shape[-1] - 1))
    second = kernel.gather(-1, (index - 1).clamp(0, kernel.shape[-1] - 1))
    return (1 - part) * first + part * second


def _moved(kernel: Tensor, motion_px: Tensor) -> Tensor:
    """Kernels under a uniform motion of `motion_px` (...): the mean over nine positions on the way."""
    width = kernel.shape[-1]
    place = torch.arange(width, device=kernel.device)
    total = torch.zeros_like(kernel)
    for step in range(-4, 5):
        source = place - motion_px[..., None] * (step / 9)
        low = source.floor()
        part = source - low
        low = low.long()
        total += (1 - part) * kernel.gather(-1, low.clamp(0, width - 1))
        total += part * kernel.gather(-1, (low + 1).clamp(0, width - 1))
    return total / 9


def line_matrices(kernels: Tensor, size_px: int, margin_px: int) -> Tensor:
    """Matrices (..., size_px, size_px + 2 * margin_px) that apply kernels (..., 2 * L + 1) and cut the margin off.

    L is size_px + 2 * margin_px - 1 at least, so that every target meets every source.
    """
    source_px = size_px + 2 * margin_px
    centre = kernels.shape[-1] // 2
    windows = kernels.flip(-1).unfold(-1, source_px, 1)
    first = centre - margin_px - size_px + 1
    return windows[..., first : first + size_px, :].flip(-2)


def blur_axes(
    canvas: Tensor, sigma_px: Tensor, shift_px: Tensor, motion_px: Tensor, size_px: int, margin_px: int
) -> Tensor:
    """Blur (N, C, S + 2m, S + 2m) -> (N, C, S, S) along x and y, a few crops at a time, which stay in the cache.

    Args:
        sigma_px, shift_px, motion_px: (N, C, 2) along x and y; see `line_kernels`.
    """
    length = size_px + 2 * margin_px - 1
    blurred = torch.empty((*canvas.shape[:2], size_px, size_px), device=canvas.device)
    for start in range(0, len(canvas), BLUR_CROPS):
        part = slice(start, start + BLUR_CROPS)
        kernels = line_kernels(sigma_px[part], shift_px[part], motion_px[part], length)
        along_x, along_y = line_matrices(kernels, size_px, margin_px).unbind(2)
        torch.matmul(along_y @ canvas[part], along_x.transpose(-1, -2).contiguous(), out=blurred[part])
    return blurred
