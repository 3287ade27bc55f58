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
    brightest, darkest, mean = blocks.amax((2, 3)), blocks.amin((2, 3)), blocks.mean((2, 3))
    peak = x.amax(3).amax(2)
    centred = blocks - mean[:, :, None, None]
    between = (centred * centred).mean((2, 3))
    height, width = blocks.shape[2:]
    border = border_level(blocks.flatten(2) @ side_weights(height, width, x.device).to(x.dtype))
    steps = _mean_square_step(blocks, 1)
    noise = _mean_square_step(x, BLOCK_PX)
    levels = signed_log(torch.cat([torch.stack([mean, darkest, brightest, peak], dim=2), border], dim=2), _GAIN)
    variances = torch.log(torch.stack([between, steps, noise], dim=2) + _LEAST_VARIANCE)
    shapes = torch.stack([_plateau(x, darkest, peak), _spread(blocks, darkest)], dim=2)
    per_channel = torch.cat([levels, variances, shapes], dim=2).flatten(1)
    across = _across_channels(brightest, mean, centred, between, noise)
    return torch.cat([per_channel, across], dim=1)


def _mean_square_step(x: Tensor, stride: int) -> Tensor:
    """Mean square of the difference between neighbours along a row, of every `stride`-th one: (N, C)."""
    rows, last = x[:, :, ::stride], torch.arange(0, x.shape[3] - 1, stride, device=x.device)
    place = torch.arange(x.shape[3], device=x.device)[:, None]
    steps = rows @ ((place == last + 1).to(x.dtype) - (place == last).to(x.dtype))
    return (steps * steps).mean((2, 3))


def _plateau(x: Tensor, darkest: Tensor, peak: Tensor) -> Tensor:
    """Logarithm of the pixels near the brightest one per thousand, out of the rows that noise is measured in."""
    limit = darkest + _NEAR_PEAK * (peak - darkest)
    share = (x[:, :, ::BLOCK_PX] >= limit[:, :, None, None]).to(x.dtype).mean((2, 3))
    return torch.log1p(1000.0 * share)


def _spread(blocks: Tensor, darkest: Tensor) -> Tensor:
    """Root mean square distance of the light above the darkest block from the middle, in crop edges: (N, C)."""
    light = blocks - darkest[:, :, None, None]
    y, x = (((torch.arange(n, device=blocks.device) + 0.5) / n - 0.5).to(blocks.dtype) for n in blocks.shape[2:])
    # one column, no vector, which onnxruntime does slowly and not at all with an empty batch
    square = (y.square()[:, None] + x.square()[None, :]).flatten()[:, None]
    total = light.mean((2, 3)) + 1e-3
    return torch.sqrt((light.flatten(2) @ square).squeeze(2) / (light.shape[2] * light.shape[3]) / total + 1e-8)


def _across_channels(brightest: Tensor, mean: Tensor, centred: Tensor, between: Tensor, noise: Tensor) -> Tensor:
    flat = centred.flatten(2)
    deviation = torch.sqrt(between + _LEAST_VARIANCE)
    correlation = (flat @ flat.transpose(1, 2)) / flat.shape[2] / (deviation[:, :, None] * deviation[:, None, :])
    channels = correlation.shape[1]
    apart = 1.0 - torch.eye(channels, device=correlation.device, dtype=correlation.dtype)
    pairs = max(channels * (channels - 1), 1)
    structure = torch.log((between + _LEAST_VARIANCE) / (noise + _LEAST_VARIANCE))
    levels = torch.stack([brightest.amax(1), brightest.amin(1), mean.amax(1)], dim=1)
    highest, lowest, brightness = signed_log(levels, _GAIN).split(1, dim=1)
    alike = (correlation * apart).sum((1, 2))[:, None] / pairs
    closest = (correlation * apart - (1.0 - apart)).amax((1, 2))[:, None]
    return torch.cat([highest, lowest, structure.amax(1, keepdim=True), alike, closest, brightness], dim=1)
