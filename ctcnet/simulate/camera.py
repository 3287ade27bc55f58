"""Camera: bleed-through, background, shot and read noise in one normal draw, gain, saturation and bit depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.panel import Panel
from ctcnet.simulate.draws import Draws

DISPLAY_FULL_SCALE_E: dict[str, float] = {"nucleus": 6000.0, "epithelial": 2500.0, "leukocyte": 1500.0}
"""Electrons that a display merge shows as full scale, by role; others as `OTHER_DISPLAY_FULL_SCALE_E`."""
OTHER_DISPLAY_FULL_SCALE_E = 2000.0


@dataclass(frozen=True)
class Sensor:
    """What the bit depth says about the camera.

    Attributes:
        full_well_e: electrons at full scale (12-bit CCD: 4.4 electrons per count; 16-bit sCMOS: 30,000).
        read_noise_e: median read noise in electrons.
    """

    full_well_e: float
    read_noise_e: float

    @classmethod
    def of_bit_depth(cls, bit_depth: int) -> Sensor:
        """Interline CCD up to 12 bits, sCMOS above."""
        return cls(18_000.0, 8.0) if bit_depth <= 12 else cls(30_000.0, 2.5)


def electrons_per_count(panel: Panel) -> Tensor:
    """Electrons per count (C,), float32: the sensor's, or for a display merge those of its stretch."""
    if panel.rgb_order is not None:
        full = [DISPLAY_FULL_SCALE_E.get(role, OTHER_DISPLAY_FULL_SCALE_E) for role in panel.roles]
        return torch.tensor(full) / panel.full_scale
    return torch.full((len(panel.channels),), Sensor.of_bit_depth(panel.bit_depth).full_well_e / panel.full_scale)


def bleed_through(signal_e: Tensor, matrix: Tensor) -> Tensor:
    """Mix channels: matrix (N, C, C) holds at [n, j, i] the share of channel i's signal that shows in channel j."""
    return torch.einsum("nji,nihw->njhw", matrix, signal_e)


def expose(
    electrons: Tensor,
    read_noise_e: Tensor,
    electrons_per_count: Tensor,
    offset_counts: Tensor,
    full_scale: int,
    draws: Draws,
) -> Tensor:
    """Expected electrons (N, C, H, W) -> counts, uint16, clipped to 0..full_scale.

    Shot noise (variance = electrons) and read noise are one normal draw with variance electrons + read_noise_e ** 2;
    above 20 electrons the normal differs from the Poisson by less than a count.

    Args:
        read_noise_e, electrons_per_count, offset_counts: (N, C).
    """
    electrons = electrons.clamp_min(0)
    deviation = (electrons + read_noise_e.square()[:, :, None, None]).sqrt_()
    counts = draws.normal(tuple(electrons.shape)).mul_(deviation).add_(electrons)  # in place: the arrays are large
    counts.div_(electrons_per_count[:, :, None, None]).add_(offset_counts[:, :, None, None])
    return counts.round_().clamp_(0, full_scale).to(torch.uint16)
