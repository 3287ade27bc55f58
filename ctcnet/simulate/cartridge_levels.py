"""Background and scale of each simulated cartridge, from a sample of its own leukocytes, never from a maximum."""

from __future__ import annotations

import numpy as np
import torch

from ctcnet.simulate.composition import IS_LEUKOCYTE
from ctcnet.simulate.crop_simulator import CropSimulator

SAMPLE_CROPS = 48
CELL_RADIUS_UM = 2.5
"""The level of a cell is the mean within this radius of its centre."""
NOISE_FACTOR = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution."""
LEVEL_ROLES = ("nucleus", "leukocyte", "transmitted", "scatter")
"""Roles whose scale is the leukocytes' median; for the others one noise deviation is added."""


def measure_cartridge_levels(
    simulator: CropSimulator, sample_crops: int = SAMPLE_CROPS
) -> tuple[np.ndarray, np.ndarray]:
    """Background and scale in counts, float64 (G, C) each, of every group of `simulator`.

    Background is the median over pixels outside a leukocyte's reach; scale is the median over leukocytes of the level
    over background (magnitude, for transmitted light), with the noise's deviation as floor, added for CK and the like.
    """
    num_groups = len(simulator.groups.tumour)
    groups = torch.arange(num_groups).repeat_interleave(sample_crops)
    counts = simulator.sample(torch.full_like(groups, IS_LEUKOCYTE), groups).counts.cpu().numpy()
    counts = counts.reshape(num_groups, sample_crops, *counts.shape[1:]).astype(np.float32)
    size = simulator.crop_size_px
    offset = (np.arange(size) - (size - 1) / 2) * simulator.pixel_size_um
    distance = np.hypot(offset[:, None], offset[None, :])
    outside = counts[..., distance > 0.35 * size * simulator.pixel_size_um]
    background = np.median(outside, axis=(1, 3))
    noise = NOISE_FACTOR * np.median(np.abs(outside - background[:, None, :, None]), axis=(1, 3))
    inside = counts[..., distance <= max(CELL_RADIUS_UM, simulator.pixel_size_um)].mean(-1)
    level = np.abs(np.median(inside - background[:, None], axis=1))
    floor = np.maximum(noise, 1.0)
    plain = np.array([role in LEVEL_ROLES for role in simulator.panel.roles])
    scale = np.where(plain, np.maximum(level, floor), level + floor)
    return np.round(background.astype(np.float64), 3), np.round(scale.astype(np.float64), 3)
