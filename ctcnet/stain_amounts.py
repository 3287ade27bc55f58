"""How much of each stain a crop holds and how it lies about the middle: what networks and scores of crops both rest on.

In a graph that holds both, the exporter merges what they compute alike, so that it is done once. But for the brightest
pixel everything is linear sums, squares and maxima over means of blocks of pixels; logarithms and roots are taken of a
few numbers per channel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ctcnet.block_statistics import block_means, border_level, side_weights, signed_log

_NUM_RINGS = 4
NUM_AMOUNTS = 7 + _NUM_RINGS
"""Amounts of each channel."""
MEAN, MEAN_POSITIVE, BRIGHTEST_BLOCK = 0, 3, 5
"""Places of some of them."""


class StainAmounts(NamedTuple):
    """What `stain_amounts` finds in N crops of C channels.

    Attributes:
        blocks: (N, C, h, w) means of blocks.
        border: (N, C, 1) level of the border.
        mean: (N, C, 1) of the blocks.
        logs: (N, C, `NUM_AMOUNTS`) signed logarithms of mean, border level, mean above border, mean of what is positive
            of that, root mean square of that, brightest block above border, brightest pixel above border and four
            rings about the middle above border, from the inside outwards.
        extent: (N, C, 1) squared mean over mean square of what is positive above the border.
    """

    blocks: Tensor
    border: Tensor
    mean: Tensor
    logs: Tensor
    extent: Tensor


def stain_amounts(x: Tensor, block_px: int) -> StainAmounts:
    """Amounts of each channel of each crop.

    Args:
        x: (N, C, H, W) float, normalised; H and W are at least three blocks.
        block_px: edge of the blocks in pixels.
    """
    blocks = block_means(x, block_px)
    h, w = blocks.shape[2:]
    flat = blocks.flatten(2)
    sums = torch.cat([side_weights(h, w, x.device), _ring_weights(h, w, x.device)], dim=1).to(x.dtype)
    sides, rings = (flat @ sums).split([4, _NUM_RINGS], dim=2)
    border, mean = border_level(sides), flat.mean(2, keepdim=True)
    positive = F.relu(flat - border)
    square = positive * positive
    mean_positive, mean_square = positive.mean(2, keepdim=True), square.mean(2, keepdim=True)
    extent = mean_positive * mean_positive / (mean_square + 1e-6)
    brightest = x.amax(3).amax(2, keepdim=True)
    amounts = [mean, border, mean - border, mean_positive, torch.sqrt(mean_square + 1e-8)]
    amounts += [positive.amax(2, keepdim=True), brightest - border, rings - border]
    return StainAmounts(blocks, border, mean, signed_log(torch.cat(amounts, dim=2), gain=10.0), extent)


def _ring_weights(height: int, width: int, device: torch.device) -> Tensor:
    """Weights (height * width, _NUM_RINGS) that average over concentric rings of equal width about the centre."""
    y = (torch.arange(height, device=device) + 0.5) / height * 2 - 1
    x = (torch.arange(width, device=device) + 0.5) / width * 2 - 1
    radius = torch.sqrt(y[:, None] ** 2 + x[None, :] ** 2).clamp(max=0.999).flatten()
    rings = F.one_hot((radius * _NUM_RINGS).long(), _NUM_RINGS).float()
    return rings / rings.sum(dim=0, keepdim=True).clamp(min=1)
