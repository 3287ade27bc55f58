"""A few numbers of a normalised crop that tell pictures of cells from pictures of something else.

A classifier's embedding drops what its classes do not need: noise, flat areas, edges of letters. These statistics keep
it. They rest on `ctcnet.stain_amounts`, which the compact network computes too, and on an eighth of the rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.normalization import BLOCK_PX, INPUT_LIMIT
from ctcnet.stain_amounts import BRIGHTEST_BLOCK, MEAN, NUM_AMOUNTS, stain_amounts

NUM_PER_CHANNEL = NUM_AMOUNTS + 4
NUM_ACROSS = 7
CONTRAST = -1
"""Place of the contrast among the statistics: how clearly there is anything in the crop at all."""

_ROW_STEP = 2 * BLOCK_PX
_LEAST_VARIANCE = 1e-4
_LEAST_DEVIATION = 0.01
"""Of the noise of a block, in units of the normalised crop: a background of zeros has none."""


def num_crop_statistics(channels: int) -> int:
    """Length of `crop_statistics` for crops of so many channels."""
    return channels * NUM_PER_CHANNEL + NUM_ACROSS


def crop_statistics(x: Tensor) -> Tensor:
    """Statistics of each crop.

    Args:
        x: (N, C, H, W) float32, normalised; H and W multiples of `BLOCK_PX`, three blocks or more. Pixels beyond
            `INPUT_LIMIT` count as so bright, as in the networks.

    Returns:
        (N, `num_crop_statistics(C)`) float32. Of each channel: the logarithms and the extent of `stain_amounts`; and
        logarithms of the variance between blocks, between neighbouring blocks, and between neighbouring pixels. Across
        channels: brightest block above its border, the largest; largest ratio of the variance between blocks to that
        between pixels; largest mean; brightest block above its border, the least; mean correlation of the blocks of two
        channels; the largest correlation; and the contrast, 0 or greater: how far the block that differs most from its
        border does so, in deviations of a block's noise, in the channel where that is most.
    """
    x = x.clamp(max=INPUT_LIMIT)
    amounts = stain_amounts(x, BLOCK_PX)
    logs, blocks = amounts.logs, amounts.blocks
    centred = blocks.flatten(2) - amounts.mean
    covariance = (centred @ centred.transpose(1, 2)) / centred.shape[2]
    same = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
    between = (covariance * same).sum(2, True)
    steps, noise = _mean_square_step(blocks, 1), _mean_square_step(x[:, :, ::_ROW_STEP], BLOCK_PX)
    variances = torch.cat([between, steps, noise], dim=2) + _LEAST_VARIANCE
    log_variances = torch.log(variances)
    block = logs[:, :, BRIGHTEST_BLOCK : BRIGHTEST_BLOCK + 1]
    structure = log_variances[:, :, :1] - log_variances[:, :, 2:]
    per_channel = torch.cat([logs, amounts.extent, log_variances], dim=2)
    highest = torch.cat([block, structure, logs[:, :, MEAN : MEAN + 1]], dim=2).amax(1)
    correlations = _correlations(covariance, torch.sqrt(variances[:, :, :1]), same)
    contrast = _contrast(blocks.flatten(2) - amounts.border, noise)
    return torch.cat([per_channel.flatten(1), highest, block.amin(1), correlations, contrast], dim=1)


def _contrast(above_border: Tensor, mean_square_step: Tensor) -> Tensor:
    """Largest ratio (N, 1) of a block (N, C, blocks) to the noise of a block: pixels that differ by a square of s have
    noise of a variance of s / 2, and a mean of n of them has an n-th of that.
    """
    variance = mean_square_step / (2 * BLOCK_PX**2) + _LEAST_DEVIATION**2
    return (above_border.abs().amax(2, True) / torch.sqrt(variance)).amax(1)


def _mean_square_step(rows: Tensor, stride: int) -> Tensor:
    """Mean square of the difference between every `stride`-th pixel of rows (N, C, h, w) and the next: (N, C, 1)."""
    last = torch.arange(0, rows.shape[3] - 1, stride, device=rows.device)
    place = torch.arange(rows.shape[3], device=rows.device)[:, None]
    steps = rows @ ((place == last + 1).to(rows.dtype) - (place == last).to(rows.dtype))
    return (steps * steps).flatten(2).mean(2, True)


def _correlations(covariance: Tensor, deviation: Tensor, same: Tensor) -> Tensor:
    """Mean and largest correlation (N, 2) of two channels, of (N, C, C) and (N, C, 1); `same` is (C, C)."""
    others = (covariance / (deviation * deviation.transpose(1, 2))) * (1.0 - same)
    pairs = max(len(same) * (len(same) - 1), 1)
    return torch.cat([others.flatten(1).sum(1, True) / pairs, (others - same).flatten(1).amax(1, True)], dim=1)
