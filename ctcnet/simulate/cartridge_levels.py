"""Background and scale of each simulated cartridge, from a sample of its own leukocytes, never from a maximum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

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
    labels = torch.full_like(groups, IS_LEUKOCYTE)
    background, scale = levels_of_crops(simulator, simulator.sample(labels, groups).counts, labels, groups)
    return np.round(background, 3), np.round(scale, 3)


def levels_of_crops(
    simulator: CropSimulator, counts: Tensor, labels: Tensor, groups: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """As `measure_cartridge_levels`, from crops at hand.

    Args:
        simulator: what the crops were made with.
        counts: (N, C, S, S) uint16.
        labels, groups: (N,) int64; each group has at least one leukocyte.
    """
    size = simulator.crop_size_px
    offset = (np.arange(size) - (size - 1) / 2) * simulator.pixel_size_um
    distance = np.hypot(offset[:, None], offset[None, :])
    outside = distance > 0.35 * size * simulator.pixel_size_um
    inside = distance <= max(CELL_RADIUS_UM, simulator.pixel_size_um)
    leukocytes, of_group = counts.cpu().numpy(), groups.cpu().numpy()
    chosen = labels.cpu().numpy() == IS_LEUKOCYTE
    leukocytes, of_group = leukocytes[chosen], of_group[chosen]
    figures = [
        _levels_of_group(leukocytes[of_group == group], outside, inside)
        for group in range(len(simulator.groups.tumour))
    ]
    background, noise, level = (np.stack(column).astype(np.float64) for column in zip(*figures, strict=True))
    return background, scale_from_leukocytes(level, noise, simulator.panel.roles)


def _levels_of_group(crops: np.ndarray, outside: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, ...]:
    """Background, noise and level (C,) of a cartridge's leukocytes (N, C, S, S), in counts."""
    beyond = crops[..., outside].astype(np.float32)
    background = np.median(beyond, axis=(0, 2))
    noise = NOISE_FACTOR * np.median(np.abs(beyond - background[None, :, None]), axis=(0, 2))
    level = np.median(crops[..., inside].astype(np.float32).mean(-1) - background, axis=0)
    return background, noise, level
