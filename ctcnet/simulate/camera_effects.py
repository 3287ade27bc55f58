"""Effects of illumination and camera on expected electrons: shading and hot pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.simulate.draws import Draws

HOT_MEAN_E = 2_000.0
"""Mean of the exponential charge of a hot pixel (general knowledge)."""
SLOPE_PER_CROP = 0.15
"""Change of the light lost by vignetting across half a crop, relative to the loss itself."""


def shade(electrons: Tensor, vignetting: Tensor, stain_log_sd: Tensor, draws: Draws) -> Tensor:
    """Electrons (N, C, S, S) as seen somewhere in a frame, with a stain that differs between places and channels.

    Vignetting takes the same share from all channels; with it goes a slope towards the frame's corner.
    """
    count, channels, size = electrons.shape[:3]
    radius = draws.uniform((count,)).sqrt()
    loss = vignetting * radius.square()
    angle = draws.angle((count,))
    slope = torch.stack((angle.cos(), angle.sin()), 1) * (loss * SLOPE_PER_CROP)[:, None]
    stain = torch.exp(draws.normal((count, channels)) * stain_log_sd[:, None])
    steep = draws.normal((count, channels, 2)) * (0.5 * stain_log_sd)[:, None, None]
    ramp = torch.linspace(-1, 1, size, device=electrons.device)
    along_x, along_y = ((1 + (slope[:, None, axis] + steep[:, :, axis])[..., None] * ramp) for axis in (0, 1))
    rows = along_y * (stain * (1 - loss)[:, None])[..., None]
    return electrons * rows.clamp_min(0.05)[..., None] * along_x.clamp_min(0.05)[:, :, None]


def add_hot_pixels(electrons: Tensor, per_pixel: Tensor, draws: Draws) -> Tensor:
    """Electrons (N, C, H, W) with `per_pixel` (N,) of the pixels holding an exponential charge more."""
    area = electrons[0].numel()
    number = draws.poisson(per_pixel * area)
    crop = torch.arange(len(number), device=electrons.device).repeat_interleave(number)
    place = draws.integers((len(crop),), 0, area - 1)
    charge = -HOT_MEAN_E * torch.log1p(-draws.uniform((len(crop),)))
    return electrons.flatten().index_add(0, crop * area + place, charge).view_as(electrons)
