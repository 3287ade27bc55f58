"""Background and scale of each simulated cartridge, from a sample of its own leukocytes, never from a maximum."""

from __future__ import annotations

import numpy as np
import torch

from ctcnet.cartridge_levels import CELL_RADIUS_UM, NOISE_FACTOR, scale_from_leukocytes
from ctcnet.simulate.composition import IS_LEUKOCYTE
from ctcnet.simulate.crop_simulator import CropSimulator

SAMPLE_CROPS = 48


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
    level = np.median(inside - background[:, None], axis=1)
    scale = scale_from_leukocytes(level, noise, simulator.panel.roles)
    return np.round(background.astype(np.float64), 3), np.round(scale.astype(np.float64), 3)
