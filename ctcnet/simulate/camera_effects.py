"""Effects of illumination and camera on expected electrons: shading and hot pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.simulate.draws import Draws

HOT_MEAN_E = 2_000.0
"""Mean of the exponential charge of a hot pixel (general knowledge)."""
SLOPE_PER_CROP = 0.15
"""Change of the light lost by vignetting across half a crop, relative to the loss itself."""


def uneven_stain(signal_e: Tensor, log_sd: Tensor, stained: Tensor, draws: Draws) -> Tensor:
    """Signal (N, C, S, S) of objects whose stain differs between places and channels, by `log_sd` (N,).

    Args:
        stained: (C,) bool, channels that show a stain; the others stay as they are.
    """
    count, channels = signal_e.shape[:2]
    log_sd = log_sd[:, None] * stained
    level = torch.exp(draws.normal((count, channels)) * log_sd)
    steep = draws.normal((count, channels, 2)) * (0.5 * log_sd)[..., None]
    return _sloped(signal_e, level, steep)


def vignette(electrons: Tensor, vignetting: Tensor, draws: Draws) -> Tensor:
    """Electrons (N, C, S, S) somewhere in a frame: all channels lose the same share, more towards the corner."""
    count = len(electrons)
    loss = vignetting * draws.uniform((count,))  # the square of a radius that is uniform over a disc is uniform
    angle = draws.angle((count,))
    slope = torch.stack((angle.cos(), angle.sin()), 1) * (loss * SLOPE_PER_CROP)[:, None]
    return _sloped(electrons, (1 - loss)[:, None], slope[:, None])


def _sloped(pixels: Tensor, level: Tensor, slope: Tensor) -> Tensor:
    """Pixels (N, C, S, S) times a level (N, 1 or C) and slopes (N, 1 or C, 2) per half a crop along x and y."""
    ramp = torch.linspace(-1, 1, pixels.shape[-1], device=pixels.device)
    along_x, along_y = (1 + slope[..., axis, None] * ramp for axis in (0, 1))
    rows = along_y * level[..., None]
    return pixels * rows.clamp_min(0.05)[..., None] * along_x.clamp_min(0.05)[:, :, None]


def add_hot_pixels(electrons: Tensor, per_pixel: Tensor, draws: Draws) -> Tensor:
    """Electrons (N, C, H, W) with `per_pixel` (N,) of the pixels holding an exponential charge more."""
    area = electrons[0].numel()
    number = draws.poisson(per_pixel * area)
    crop = torch.arange(len(number), device=electrons.device).repeat_interleave(number)
    place = draws.integers((len(crop),), 0, area - 1)
    charge = -HOT_MEAN_E * torch.log1p(-draws.uniform((len(crop),)))
    return electrons.flatten().index_add(0, crop * area + place, charge).view_as(electrons)
