"""Masks of events on patches (N, h, w): what hangs together, how long its outline is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ctcnet.scan.measure.patches import with_both_sides


def flood(seeds: Tensor, allowed: Tensor) -> Tensor:
    """Part of `allowed` that is connected (8 neighbours) to `seeds`.

    The dilation is repeated at most as often as three times the longer side of the patch, enough for any outline that
    does not wind much; it stops early where nothing changes any more, which cannot change the result.

    Args:
        seeds, allowed: (N, h, w) uint8, 0 on the outermost pixels; every bit is a mask of its own.
    """
    shape = allowed.shape
    seeds, allowed = seeds.reshape(-1), allowed.reshape(-1)
    reached = seeds & allowed
    for step in range(3 * max(shape[1:])):
        grown = reached
        for shift in (1, shape[-1]):
            grown = with_both_sides(grown, shift, torch.bitwise_or)
        grown &= allowed
        if step % 4 == 3 and torch.equal(grown, reached):
            break
        reached = grown
    return reached.view(shape)


def opened(mask: Tensor, reach: int) -> Tensor:
    """Mask (N, h, w) uint8 without what is narrower than 2 * reach + 1 pixels; 0 on its outermost pixels."""
    width = mask.shape[-1]
    flat = mask.reshape(-1)
    for combine in (torch.bitwise_and, torch.bitwise_or):
        for shift in (1, width):
            for _ in range(reach):
                flat = with_both_sides(flat, shift, combine)
    return flat.view(mask.shape)


def perimeter_px(mask: Tensor) -> Tensor:
    """Length of the outline of each mask in pixels, (N,) float32.

    Crofton's formula over four directions: an outline's length is pi / 2 times the mean over directions of
    (crossings of parallel lines) * (distance of the lines), which is 1 px along the axes and 1 / sqrt(2) diagonally.

    Args:
        mask: (N, h, w) bool, false on the outermost pixels.
    """
    width = mask.shape[-1]
    straight, diagonal = _crossings(mask, (1, width)), _crossings(mask, (width + 1, width - 1))
    return math.pi / 8 * (straight + diagonal / math.sqrt(2))


def _crossings(mask: Tensor, shifts: tuple[int, ...]) -> Tensor:
    """Number of pixels that differ from the one so many pixels before, summed over the shifts, (N,) float32."""
    flat = mask.view(torch.uint8).reshape(-1)
    changed = torch.zeros_like(flat)
    for shift in shifts:
        changed[shift:] += flat[shift:] ^ flat[:-shift]
    return changed.view(len(mask), -1).sum(1, dtype=torch.int32).float()
