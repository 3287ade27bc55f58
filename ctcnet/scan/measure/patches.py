"""Patches: the surroundings of many events, cut at the image's own resolution.

Patches are windows that lie in the image: near its border they are moved inwards, so that no pixel is made up. Masks
on patches are false on their outermost pixels. Shifts can therefore run over all patches as one long row of numbers,
several times faster on CPUs than over short rows: what is carried from one row or patch into the next lands on
outermost pixels only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.scan.windows import cut_windows


@dataclass(frozen=True)
class Patches:
    """Windows around N events.

    Attributes:
        counts: (C, N, h, w) float32.
        top, left: (N,) int64, the image's row and column of the upper left pixel.
        goes_on: (4, N) bool, whether the image goes on above, below, to the left and to the right of a patch.
    """

    counts: Tensor
    top: Tensor
    left: Tensor
    goes_on: Tensor

    def cut_off(self, mask: Tensor) -> Tensor:
        """Whether masks (N, h, w) bool may go on outside their patches, (N,) bool.

        They may where they reach the pixels next to the outermost ones, on a side where the image goes on.
        """
        sides = mask[:, 1], mask[:, -2], mask[:, :, 1], mask[:, :, -2]
        return (torch.stack([side.any(1) for side in sides]) & self.goes_on).any(0)


def cut_patches(image: Tensor, column: Tensor, row: Tensor, half_px: int) -> Patches:
    """Cut windows of 2 * half_px + 1 pixels (or the whole image where it is smaller) around integer pixels.

    Args:
        image: (C, H, W) float32.
        column, row: (N,) int64, pixels of the image.
    """
    image_height, image_width = image.shape[1:]
    height, width = min(2 * half_px + 1, image_height), min(2 * half_px + 1, image_width)
    top = (row - half_px).clamp(0, image_height - height)
    left = (column - half_px).clamp(0, image_width - width)
    counts = cut_windows(image, top, left, height, width)
    goes_on = torch.stack([top > 0, top + height < image_height, left > 0, left + width < image_width])
    return Patches(counts, top, left, goes_on)


def clear_outermost(mask: Tensor) -> Tensor:
    """Set the outermost pixels of masks (N, h, w) to false, in place."""
    mask[:, 0] = mask[:, -1] = False
    mask[:, :, 0] = mask[:, :, -1] = False
    return mask


def smooth(patches: Tensor) -> Tensor:
    """Binomial smoothing (1, 2, 1)/4 along both axes (sigma 0.71 px).

    Args:
        patches: (..., h, w) float32, contiguous; the outermost pixels of the answer mean nothing.
    """
    flat = patches.reshape(-1)
    for shift in (1, patches.shape[-1]):
        out = flat * 0.5
        out[shift:].add_(flat[:-shift], alpha=0.25)
        out[:-shift].add_(flat[shift:], alpha=0.25)
        flat = out
    return flat.view(patches.shape)


def weight(mask: Tensor) -> Tensor:
    """1 where a mask (bool) is true, else 0, float32; torch converts bytes eight times as fast as bool."""
    return mask.view(torch.uint8).float()


def pixel_count(mask: Tensor) -> Tensor:
    """Number of true pixels of each mask (..., h, w) bool, (...) float32."""
    return mask.view(torch.uint8).flatten(-2).sum(-1, dtype=torch.int32).float()


def exceeds(values: Tensor, limits: Tensor) -> Tensor:
    """Where values lie above limits, bool; on a CPU by numpy, which compares two to three times as fast as torch."""
    if values.device.type != "cpu":
        return values > limits
    return torch.from_numpy(values.numpy() > limits.numpy())


def barred(weights: Tensor) -> Tensor:
    """0 where a weight is 1, minus infinity where it is 0: added to all channels faster than they are filled."""
    return 1 - weights.reciprocal()


def weighted_sum(patches: Tensor, weights: Tensor) -> Tensor:
    """Sum (C, N) of patches (C, N, h, w), each times its weight (N, h, w): products of matrices, no temporary.

    The weights stand first: a matrix times one column takes MKL ten times as long on some processors.
    """
    return torch.bmm(weights.flatten(1)[:, None], patches.flatten(2).permute(1, 2, 0))[:, 0].T


def widest(values: Tensor, reach: int) -> Tensor:
    """Largest value within `reach` pixels along both axes; values (..., h, w) are 0 on the outermost pixels."""
    flat = values.reshape(-1)
    for shift in (1, values.shape[-1]):
        for _ in range(reach):
            flat = with_both_sides(flat, shift, torch.maximum)
    return flat.view(values.shape)


def with_both_sides(flat: Tensor, shift: int, combine: Callable[..., Tensor]) -> Tensor:
    """Each value combined with those `shift` places before and after it, as far as there are any.

    Args:
        flat: (L,), L above `shift`.
        combine: a function of two tensors that takes `out`.
    """
    result = torch.empty_like(flat)
    result[:shift] = flat[:shift]
    combine(flat[shift:], flat[:-shift], out=result[shift:])
    combine(result[:-shift], flat[shift:], out=result[:-shift])
    return result


def squared_distance(x_px: Tensor, y_px: Tensor, height: int, width: int, step: int = 1) -> Tensor:
    """Squared distance in pixels of every `step`-th patch pixel from a point, (N, h', w') float32.

    Args:
        x_px, y_px: (N,) float32, the point relative to the upper left pixel of the patch.
    """
    columns = torch.arange(0, width, step, device=x_px.device, dtype=torch.float32)
    rows = torch.arange(0, height, step, device=x_px.device, dtype=torch.float32)
    x, y = (columns - x_px[:, None]).square_(), (rows - y_px[:, None]).square_()
    return y[:, :, None] + x[:, None, :]
