"""A few numbers of a normalised crop that tell pictures of cells from pictures of something else.

A classifier's embedding drops what its classes do not need: noise, flat areas, edges of letters. These statistics keep
it. They are sums, squares and maxima over means of blocks and over a quarter of the rows; logarithms are taken of a
few numbers per channel, never of pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.block_statistics import block_means, border_level, side_weights, signed_log

BLOCK_PX = 4
"""Edge of the blocks; crop sizes are multiples of it."""

NUM_PER_CHANNEL = 10
NUM_ACROSS = 6

_GAIN = 10.0
_LEAST_VARIANCE = 1e-4
_NEAR_PEAK = 0.98  # of the way from a channel's darkest block to its brightest pixel: a plateau there is saturation


def num_crop_statistics(channels: int) -> int:
    """Length of `crop_statistics` for crops of so many channels."""
    return channels * NUM_PER_CHANNEL + NUM_ACROSS


def crop_statistics(x: Tensor) -> Tensor:
    """Statistics of each crop.

    Args:
        x: (N, C, H, W) float32, normalised; H and W multiples of `BLOCK_PX`.

    Returns:
        (N, `num_crop_statistics(C)`) float32. Of each channel: signed logarithms of its mean, darkest block, brightest
        block, brightest pixel and median side of the border; logarithms of the variance between blocks, between
        neighbouring blocks, and between neighbouring pixels; logarithm of the share of pixels near the brightest one;
        how far from the middle its light lies, as a share of the crop's edge. Across channels: largest and least
        brightest block; largest ratio of the variance between blocks to that between pixels; mean correlation of the
        blocks of two channels; the largest correlation; largest mean.
    """
    blocks = block_means(x, BLOCK_PX)
    height, width = blocks.shape[2:]
    flat = blocks.flatten(2)
    brightest, darkest, mean = flat.amax(2, True), flat.amin(2, True), flat.mean(2, True)
    peak = x.amax(3).amax(2, True)
    centred = flat - mean
    between = (centred * centred).mean(2, True)
    border = border_level(flat @ side_weights(height, width, x.device).to(x.dtype))
    rows = x[:, :, ::BLOCK_PX]
    steps, noise = _mean_square_step(blocks, 1), _mean_square_step(rows, BLOCK_PX)
    levels = signed_log(torch.cat([mean, darkest, brightest, peak, border], dim=2), _GAIN)
    variances = torch.log(torch.cat([between, steps, noise], dim=2) + _LEAST_VARIANCE)
    shapes = [_plateau(rows, darkest, peak), _spread(flat - darkest, height, width)]
    per_channel = torch.cat([levels, variances, *shapes], dim=2).flatten(1)
    return torch.cat([per_channel, _across_channels(brightest, mean, centred, between, noise)], dim=1)


def _mean_square_step(rows: Tensor, stride: int) -> Tensor:
    """Mean square of the difference between every `stride`-th pixel of rows (N, C, h, w) and the next: (N, C, 1)."""
    last = torch.arange(0, rows.shape[3] - 1, stride, device=rows.device)
    place = torch.arange(rows.shape[3], device=rows.device)[:, None]
    steps = rows @ ((place == last + 1).to(rows.dtype) - (place == last).to(rows.dtype))
    return (steps * steps).flatten(2).mean(2, True)


def _plateau(rows: Tensor, darkest: Tensor, peak: Tensor) -> Tensor:
    """Logarithm of the pixels near the brightest one per thousand of rows (N, C, h, w): (N, C, 1)."""
    limit = darkest + _NEAR_PEAK * (peak - darkest)
    share = (rows.flatten(2) >= limit).to(rows.dtype).mean(2, True)
    return torch.log1p(1000.0 * share)


def _spread(light: Tensor, height: int, width: int) -> Tensor:
    """Root mean square distance of the light of blocks (N, C, height * width) from the middle, in crop edges:
    (N, C, 1)."""
    y, x = (((torch.arange(n, device=light.device) + 0.5) / n - 0.5).to(light.dtype) for n in (height, width))
    # one column, no vector, which onnxruntime does slowly and not at all with an empty batch
    square = (y.square()[:, None] + x.square()[None, :]).flatten()[:, None]
    total = light.mean(2, True) + 1e-3
    return torch.sqrt(light @ square / (height * width) / total + 1e-8)


def _across_channels(brightest: Tensor, mean: Tensor, centred: Tensor, between: Tensor, noise: Tensor) -> Tensor:
    """Statistics (N, `NUM_ACROSS`) of channels together, of (N, C, 1) each and `centred` (N, C, blocks)."""
    deviation = torch.sqrt(between + _LEAST_VARIANCE)
    correlation = (centred @ centred.transpose(1, 2)) / centred.shape[2] / (deviation * deviation.transpose(1, 2))
    channels = correlation.shape[1]
    apart = 1.0 - torch.eye(channels, device=correlation.device, dtype=correlation.dtype)
    pairs = max(channels * (channels - 1), 1)
    structure = torch.log((between + _LEAST_VARIANCE) / (noise + _LEAST_VARIANCE))
    levels = torch.cat([brightest.amax(1), brightest.amin(1), mean.amax(1)], dim=1)
    highest, lowest, brightness = signed_log(levels, _GAIN).split(1, dim=1)
    others = (correlation * apart).flatten(1)
    alike, closest = others.sum(1, True) / pairs, (others - (1.0 - apart).flatten()).amax(1, True)
    return torch.cat([highest, lowest, structure.amax(1), alike, closest, brightness], dim=1)
