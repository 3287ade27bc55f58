"""Small operations on crops that networks and scores of crops share, in operators that ONNX runtimes do fast."""

from __future__ import annotations

import torch
from torch import Tensor


def block_means(x: Tensor, block_px: int) -> Tensor:
    """Means of square blocks; rows first and then a matrix product, which onnxruntime does faster than pooling.

    Args:
        x: (N, C, H, W) float.
        block_px: edge of the blocks in pixels; what does not fill a block is left out.

    Returns:
        (N, C, H // block_px, W // block_px).
    """
    h, w = x.shape[2] // block_px, x.shape[3] // block_px
    rows = x[:, :, : h * block_px].unflatten(2, (h, block_px)).mean(3)
    block = torch.arange(x.shape[3], device=x.device) // block_px
    pooling = (block[:, None] == torch.arange(w, device=x.device)).to(x.dtype) / block_px
    return rows @ pooling


def border_level(blocks: Tensor) -> Tensor:
    """Median of the means of the four sides of (N, C, h, w), (N, C): one side may hold a neighbour."""
    sides = torch.stack(
        [blocks[:, :, 0].mean(2), blocks[:, :, -1].mean(2), blocks[..., 0].mean(2), blocks[..., -1].mean(2)], dim=2
    )
    return (sides.sum(2) - sides.amax(2) - sides.amin(2)) / 2


def signed_log(x: Tensor, gain: float) -> Tensor:
    """sign(x) log(1 + gain |x|), for a few numbers per channel, never for pixels."""
    return torch.sign(x) * torch.log1p(gain * torch.abs(x))
