"""Specks of unbound stain, any number of them, in one channel each: over the field and on the cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.simulate.cells import CTC
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effect_levels import EffectLevels
from ctcnet.simulate.objects import Bodies, Dots

SPECK_SIGMA_UM = 0.15
"""Gaussian SD of a speck itself: below the resolution (slide: the smallest specks are as wide as the PSF)."""
BRIGHTEST = 40.0
"""Peak of the brightest speck in units of the median (slide: peaks of 16 to 180 at a median of 45 counts)."""


@dataclass(frozen=True)
class Specks:
    """Dots with an amplitude (M, 1) in a channel (M,) each."""

    dots: Dots
    channel: Tensor


def draw_specks(
    bodies: Bodies, levels: EffectLevels, sigma_um: Tensor, pixel_size_um: float, field_um: float, draws: Draws
) -> Specks:
    """Specks over the fields and on the cells.

    Args:
        bodies: what lies in the crops.
        levels: strengths of each crop, N rows.
        sigma_um: (N, C) optical PSF in focus.
        field_um: side of the crops with their margin.
    """
    channels = sigma_um.shape[1]
    number = draws.poisson(levels.specks_per_mm2 * field_um**2 * 1e-6).flatten()
    place = torch.arange(len(number), device=draws.device).repeat_interleave(number)
    centre = draws.uniform((len(place), 2), -field_um / 2, field_um / 2)
    crop, channel = place // channels, place % channels

    cells = bodies.rows(bodies.present & (bodies.kind <= CTC))
    on_cell = draws.poisson(levels.specks_on_cell[cells.crop]).flatten()
    spot = torch.arange(len(on_cell), device=draws.device).repeat_interleave(on_cell)
    cell = spot // channels
    angle, reach = draws.angle((len(spot),)), draws.uniform((len(spot),)).sqrt() * cells.radius[cell]
    offset = torch.stack((angle.cos(), angle.sin()), 1) * reach[:, None]

    crop = torch.cat((crop, cells.crop[cell]))
    channel = torch.cat((channel, spot % channels))
    centre = torch.cat((centre, cells.centre[cell] + offset))
    relative = torch.exp(draws.normal((len(crop),)) * levels.speck_log_sd[crop]).clamp_max(BRIGHTEST)
    widened = (sigma_um[crop, channel].square() + pixel_size_um**2 / 12) / SPECK_SIGMA_UM**2
    amplitude = levels.speck_peak_e[crop, channel] * relative * (1 + widened)
    sigma = torch.full_like(amplitude, SPECK_SIGMA_UM)
    return Specks(Dots(crop, centre, sigma, amplitude[:, None]), channel)


def speck_patch_px(pixel_size_um: float) -> int:
    """Side in px of the patch that holds a speck as spread on a canvas."""
    return 2 * math.ceil(3.0 * math.hypot(SPECK_SIGMA_UM / pixel_size_um, 0.35)) + 2
