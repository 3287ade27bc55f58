"""JPEG compression of grey-scale crops as matrix products: what it does to the pixels, without a file."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8
LUMINANCE: tuple[tuple[int, ...], ...] = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation of luminance at quality 50 (ITU-T T.81, table K.1)."""


def cosine_matrix(device: torch.device) -> Tensor:
    """Orthonormal discrete cosine transform (8, 8): rows are frequencies."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos((2 * place[None, :] + 1) * place[:, None] * math.pi / (2 * BLOCK)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.float().to(device)


def quantisation(quality: Tensor) -> Tensor:
    """Steps (N, 8, 8) at qualities (N,), 1 to 100, scaled as the reference implementation does."""
    base = torch.tensor(LUMINANCE, dtype=torch.float32, device=quality.device)
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((base * scale[:, None, None] + 50) / 100).floor().clamp(1, 255)


def compress(grey: Tensor, quality: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Compress and expand (N, C, H, W), 0 to 255, float; each channel is a picture of its own.

    Args:
        quality: (N,), 1 to 100.
        corner: row and column, 0 to 7, of the first pixel in its block: crops are cut anywhere from a frame.

    Returns:
        (N, C, H, W) whole numbers, 0 to 255.
    """
    height, width = grey.shape[-2:]
    top, left = corner
    padding = (left, -(left + width) % BLOCK, top, -(top + height) % BLOCK)
    padded = functional.pad(grey, padding, mode="replicate") - 128
    rows, columns = padded.shape[-2] // BLOCK, padded.shape[-1] // BLOCK
    blocks = padded.unflatten(-1, (columns, BLOCK)).unflatten(-3, (rows, BLOCK)).transpose(-3, -2)
    cosine = cosine_matrix(grey.device)
    step = quantisation(quality)[:, None, None, None]
    levels = cosine @ blocks @ cosine.T / step
    levels = levels.sign() * (levels.abs() + 0.5).floor_() * step  # halves go away from 0, as in libjpeg
    expanded = (cosine.T @ levels @ cosine).transpose(-3, -2).flatten(-4, -3).flatten(-2)
    expanded = expanded[..., top : top + height, left : left + width]
    return (expanded + 128.5).floor_().clamp_(0, 255)


def compress_counts(counts: Tensor, quality: Tensor, white_counts: Tensor, corner: tuple[int, int]) -> Tensor:
    """Counts (N, C, H, W) uint16 of which those with a quality above 0 went through 8-bit JPEG files.

    Args:
        quality: (N,), 0 for crops that stay as they are.
        white_counts: (N, C) counts that the file shows as 255; what is brighter is cut.
        corner: see `compress`.
    """
    rows = torch.nonzero(quality > 0)[:, 0]
    if not len(rows):
        return counts
    scale = 255 / white_counts[rows][:, :, None, None]
    signed = counts.clone().view(torch.int16)  # torch indexes no uint16
    grey = (signed[rows].view(torch.uint16).float() * scale).round_().clamp_(max=255)
    expanded = (compress(grey, quality[rows], corner) / scale).round_()
    signed[rows] = expanded.to(torch.uint16).view(torch.int16)
    return signed.view(torch.uint16)
