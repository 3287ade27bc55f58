"""The reduced image in which events are looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.scan.detect.background import Background

WORKING_PIXEL_UM = 1.2
"""Wanted size of a working pixel: the smallest event (4 um) is still three of them wide."""


@dataclass(frozen=True)
class WorkingImage:
    """Reduced channels of a batch of images.

    Attributes:
        pixels: (B, K, h, w) float32 counts, means over `factor` x `factor` pixels.
        valid: (B, h, w) bool, working pixels of which at least one pixel is valid; None is all.
        factor: pixels per working pixel.
        pixel_um: size of a working pixel.
    """

    pixels: Tensor
    valid: Tensor | None
    factor: int
    pixel_um: float

    def to_image(self, position: Tensor) -> Tensor:
        """Position in pixels of the image of a position in working pixels."""
        return position * self.factor + (self.factor - 1) / 2


def choose_factor(pixel_size_um: float, downsample: int) -> int:
    """Factor by which images are reduced: `downsample`, or for 0 what brings a pixel nearest to 1.2 um."""
    return downsample if downsample > 0 else max(1, round(WORKING_PIXEL_UM / pixel_size_um))


def reduce_image(
    counts: Tensor,
    valid: Tensor | None,
    channels: list[int],
    background: Background,
    factor: int,
    pixel_size_um: float,
) -> WorkingImage:
    """Reduce the channels wanted; pixels that are not valid take the background, so that they show no edge.

    Args:
        counts: (B, C, H, W) float32.
        valid: (B, H, W) bool or None.
        channels: indices of the channels wanted.
        background: background of all channels.
        factor: pixels per working pixel and direction.
        pixel_size_um: micrometres per pixel.
    """
    height, width = counts.shape[-2:]
    rows, columns = -(-height // factor), -(-width // factor)
    row, column = _taps(height, rows, factor, counts.device), _taps(width, columns, factor, counts.device)
    planes = [counts[:, channel] for channel in channels]
    usable = None
    if valid is not None:
        planes = [
            torch.where(valid, plane, background.level[:, channel, None, None])
            for plane, channel in zip(planes, channels, strict=True)
        ]
        usable = _joined(valid, row, column, torch.bitwise_or)
    pixels = torch.stack([_joined(plane, row, column, torch.add).div_(factor**2) for plane in planes], 1)
    return WorkingImage(pixels, usable, factor, factor * pixel_size_um)


def _taps(size: int, reduced: int, factor: int, device: torch.device) -> list[Tensor | slice]:
    """For each pixel of a working pixel the rows to take; beyond the border the last row is taken again."""
    if size == reduced * factor:
        return [slice(offset, size, factor) for offset in range(factor)]
    first = torch.arange(reduced, device=device) * factor
    return [(first + offset).clamp(max=size - 1) for offset in range(factor)]


def _joined(
    plane: Tensor, rows: list[Tensor | slice], columns: list[Tensor | slice], join: Callable[..., Tensor]
) -> Tensor:
    """All pixels of each working pixel, joined into one."""
    lines = _joined_parts([plane[:, taken] for taken in rows], join)
    return _joined_parts([lines[:, :, taken] for taken in columns], join)


def _joined_parts(parts: list[Tensor], join: Callable[..., Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0].clone()
    result = join(parts[0], parts[1])
    for part in parts[2:]:
        join(result, part, out=result)
    return result
