"""Means over squares of pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def square_means(counts: Tensor, side_px: int) -> Tensor:
    """Means over squares of `side_px` pixels a side; on a CPU sums of slices are faster than pooling.

    Args:
        counts: (C, H, W) float32, H and W at least `side_px`; what fills no square at the right and below is left out.
        side_px: 1 or more.

    Returns:
        (C, H // side_px, W // side_px) float32, a copy.
    """
    height, width = (side // side_px * side_px for side in counts.shape[1:])
    rows = counts[:, :height:side_px, :width].clone()
    for offset in range(1, side_px):
        rows += counts[:, offset:height:side_px, :width]
    result = rows[..., ::side_px].clone(memory_format=torch.contiguous_format)
    for offset in range(1, side_px):
        result += rows[..., offset::side_px]
    return result.mul_(1 / side_px**2)
