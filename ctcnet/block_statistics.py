"""Small operations on crops that networks and scores of crops share, in operators that ONNX runtimes do fast."""

from __future__ import annotations

import torch
from torch import Tensor


def block_means(x: Tensor, block_px: int) -> Tensor:
    """Means of square blocks as one matrix product over rows of blocks, which onnxruntime does faster than pooling.

    Args:
        x: (N, C, H, W) float.
        block_px: edge of the blocks in pixels; what does not fill a block is left out.

    Returns:
        (N, C, H // block_px, W // block_px).
    """
    h, w = x.shape[2] // block_px, x.shape[3] // block_px
    rows = x[:, :, : h * block_px].unflatten(2, (h, block_px)).flatten(3)
    block = torch.arange(x.shape[3], device=x.device).repeat(block_px) // block_px
    pooling = (block[:, None] == torch.arange(w, device=x.device)).to(x.dtype) / block_px**2
    return rows @ pooling


def side_weights(height: int, width: int, device: torch.device) -> Tensor:
    """Weights (height * width, 4) that average over each side of a grid: top, bottom, left, right."""
    sides = torch.zeros(height, width, 4, device=device)
    sides[0, :, 0] = sides[-1, :, 1] = 1 / width
    sides[:, 0, 2] = sides[:, -1, 3] = 1 / height
    return sides.flatten(0, 1)


def border_level(sides: Tensor) -> Tensor:
    """Median (..., 1) of the means of the four sides (..., 4): one side may hold a neighbour."""
    last = sides.ndim - 1  # onnxruntime does not reduce over an axis counted from the end where a batch is empty
    return (sides.sum(last, True) - sides.amax(last, True) - sides.amin(last, True)) / 2


def signed_log(x: Tensor, gain: float) -> Tensor:
    """sign(x) log(1 + gain |x|), for a few numbers per channel, never for pixels."""
    return torch.sign(x) * torch.log1p(gain * torch.abs(x))
