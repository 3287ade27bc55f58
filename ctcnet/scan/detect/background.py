"""Background and noise of a frame: local levels on a coarse grid, from pixels that show nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ctcnet.cartridge_levels import NOISE_FACTOR
from ctcnet.scan.order_statistics import ascending, lower_median, of_rank

BLOCK_UM = 64.0
"""Side of the blocks in which the background is measured: several cells wide, well below a field's unevenness."""

SAMPLES_PER_SIDE = 15
CLIPPINGS = 3
CLIP_SIGMAS = 4.0
LOWER_SIGMA = 0.158655
MEDIAN_ABSOLUTE = 0.6745
GRAIN_SHARE, GRAIN_SIGMAS = 0.35, 0.454
LOWEST = 0.05
DARKEST = 0.04
ABOVE_LOWEST = 4.0
ABOVE_LOWEST_FINEST = 20.0
CROWDED_SHARE = 0.5
SAME_LOWEST = 3.0
LEAST_SHARE_VALID = 0.25


@dataclass(frozen=True)
class Background:
    """Background of a batch of images.

    Attributes:
        grid: (B, C, rows, columns) float32, level of each block in counts.
        block_px: side of a block in pixels of the image.
        level: (B, C) float32, median over the blocks.
        noise: (B, C) float32, standard deviation of the background's pixels, at least the floor.
        crowded: (B, C) bool, whether cells cover so much that the darkest pixels had to be taken for the background.
        known: (B, C) bool, false where cells leave no background to be seen: even the darkest pixels of neighbouring
            blocks disagree.
    """

    grid: Tensor
    block_px: int
    level: Tensor
    noise: Tensor
    crowded: Tensor
    known: Tensor

    def at(self, image: Tensor, channel: int, y_px: Tensor, x_px: Tensor) -> Tensor:
        """Level at places, interpolated between the blocks' centres.

        Args:
            image: (N,) int64, row of the batch.
            channel: index of the channel.
            y_px, x_px: (N,) places in pixels.

        Returns:
            (N,) float32 counts.
        """
        rows, columns = self.grid.shape[-2:]
        row = ((y_px + 0.5) / self.block_px - 0.5).clamp(0, rows - 1)
        column = ((x_px + 0.5) / self.block_px - 0.5).clamp(0, columns - 1)
        top, left = row.floor().long(), column.floor().long()
        bottom, right = (top + 1).clamp(max=rows - 1), (left + 1).clamp(max=columns - 1)
        down, across = row - top, column - left
        plane = self.grid[:, channel]
        upper = plane[image, top, left] * (1 - across) + plane[image, top, right] * across
        lower = plane[image, bottom, left] * (1 - across) + plane[image, bottom, right] * across
        return upper * (1 - down) + lower * down


def measure_background(
    counts: Tensor, valid: Tensor | None, pixel_size_um: float, noise_floor_counts: float
) -> Background:
    """Measure background and noise.

    In each block every so many pixels are sorted and clipped at 4 standard deviations (median less 15.87th percentile,
    so that cells have no say in it) above their median until only the background is left; the level is the mean of
    that. The noise is 1.4826 times the median absolute deviation from the levels, over the image, clipped alike. A
    background clipped to zero has no spread: the floor holds there. Where cells cover so much of a frame that clipping
    takes them for background (most levels far above the 5th percentile), that percentile is the level, and the noise
    is no more than what is left in the darkest places after structure is taken off (Immerkaer 1996, Comput. Vis. Image
    Underst. 64, 300).

    Args:
        counts: (B, C, H, W) float32.
        valid: (B, H, W) bool, pixels that may be used; None is all.
        pixel_size_um: micrometres per pixel.
        noise_floor_counts: least standard deviation.

    Returns:
        Levels in counts; a block without enough valid pixels takes the median of the other blocks (0 where no block
        has any).
    """
    height, width = counts.shape[-2:]
    block = max(8, min(round(BLOCK_UM / pixel_size_um), height, width))
    step = max(1, block // SAMPLES_PER_SIDE)
    block = max(step, block // step * step)
    rows, columns = max(1, height // block), max(1, width // block)
    sampled = _blocks(counts[..., ::step, ::step], rows, columns, block // step)
    usable = None if valid is None else _blocks(valid[:, None, ::step, ::step], rows, columns, block // step)
    grain = _grain(counts, valid, step, noise_floor_counts)
    finest = _finest_noise(counts, valid, step, (rows, columns, block // step), noise_floor_counts)
    level, lowest = _clipped_levels(sampled, usable, noise_floor_counts)
    limit = torch.minimum(ABOVE_LOWEST * grain, ABOVE_LOWEST_FINEST * finest)[..., None, None]
    crowded = (level > lowest + limit).flatten(2).float().mean(-1) > CROWDED_SHARE
    known = ~crowded | (_disagreement(lowest) <= SAME_LOWEST * finest)
    level = torch.where(crowded[..., None, None], lowest, level)
    typical = lower_median(level.flatten(2)).nan_to_num(0.0)
    grid = _smoothed(torch.where(level.isnan(), typical[..., None, None], level))
    noise = _spread(sampled - grid[..., None], usable, noise_floor_counts)
    noise = torch.where(crowded, torch.minimum(noise, finest), noise)
    return Background(grid, block, typical, noise, crowded, known)


def _blocks(pixels: Tensor, rows: int, columns: int, side: int) -> Tensor:
    """(B, C, h, w) -> (B, C, rows, columns, side * side); what is left over at the right and below is not used."""
    side_y, side_x = min(side, pixels.shape[-2]), min(side, pixels.shape[-1])
    cut = pixels[..., : rows * side_y, : columns * side_x]
    batch, channels = cut.shape[:2]
    blocks = cut.reshape(batch, channels, rows, side_y, columns, side_x).transpose(3, 4)
    return blocks.reshape(batch, channels, rows, columns, side_y * side_x)


def _clipped_levels(sampled: Tensor, usable: Tensor | None, floor: float) -> tuple[Tensor, Tensor]:
    """(B, C, rows, columns) mean of what is left after clipping, and 5th percentile; NaN with too few valid pixels."""
    if usable is None:
        number = torch.full(sampled.shape[:-1], sampled.shape[-1], device=sampled.device)
    else:
        sampled = sampled.masked_fill(~usable, float("inf"))
        number = usable.sum(-1).expand(sampled.shape[:-1])
    ordered = ascending(sampled)
    kept = number.clamp(min=1)
    limit = ordered[..., 0]
    for _ in range(CLIPPINGS):
        level = ordered.gather(-1, ((kept - 1) // 2)[..., None])[..., 0]
        lower = ordered.gather(-1, (kept * LOWER_SIGMA).long()[..., None])[..., 0]
        limit = level + CLIP_SIGMAS * (level - lower).clamp(min=floor)
        kept = torch.minimum((ordered <= limit[..., None]).sum(-1), kept).clamp(min=1)
    left = torch.where(ordered <= limit[..., None], ordered, torch.zeros_like(ordered))
    lowest = ordered.gather(-1, (number * LOWEST).long()[..., None].clamp(max=ordered.shape[-1] - 1))[..., 0]
    empty = number < LEAST_SHARE_VALID * sampled.shape[-1]
    return (left.sum(-1) / kept).masked_fill(empty, float("nan")), lowest.masked_fill(empty, float("nan"))


def _grain(counts: Tensor, valid: Tensor | None, step: int, floor: float) -> Tensor:
    """Noise (B, C) as the differences of neighbouring pixels show it, from their 35th percentile.

    Of a normal distribution's absolute values 35 % are below 0.454 standard deviations; edges of cells are above.
    """
    columns = counts.shape[-1] - 1
    difference = (counts[..., ::step, 1::step] - counts[..., ::step, :columns:step]).abs()
    if valid is not None:
        usable = valid[:, None, ::step, 1::step] & valid[:, None, ::step, :columns:step]
        difference = difference.masked_fill(~usable, float("nan"))
    share = of_rank(difference.flatten(2), lambda number: (number * GRAIN_SHARE).long())
    return (share / (GRAIN_SIGMAS * 2**0.5)).nan_to_num(0.0).clamp(min=floor)


def _finest_noise(
    counts: Tensor, valid: Tensor | None, step: int, blocks: tuple[int, int, int], floor: float
) -> Tensor:
    """Noise (B, C) of the darkest places of each block, without the structure of cells.

    Around every so many pixels the difference of two Laplacians over 3 x 3 pixels is taken, which slopes and bends do
    not change (its deviation is 6 times the noise), and the mean, which tells the darkest places and is independent
    of it.
    """
    height, width = counts.shape[-2:]
    above, at, below = (counts[..., first : height - 2 + first : step, :] for first in range(3))
    around = above + below
    fine = _across(torch.add(around, at, alpha=-2), -2.0, step, width)
    mean = _across(around.add_(at), 1.0, step, width)
    rows, columns, side = blocks
    mean = _blocks(_filled(mean, blocks, float("inf")), rows, columns, side)
    fine = _blocks(_filled(fine.abs(), blocks, float("nan")), rows, columns, side)
    if valid is not None:
        inner = _filled(valid[:, None, 1:-1:step, 1:-1:step], blocks, False)
        usable = _blocks(inner, rows, columns, side)
        mean, fine = mean.masked_fill(~usable, float("inf")), fine.masked_fill(~usable, float("nan"))
    darkest = mean.topk(max(1, int(DARKEST * mean.shape[-1])), -1, largest=False, sorted=False).indices
    typical = lower_median(fine.gather(-1, darkest).flatten(2))
    return (typical / (6 * MEDIAN_ABSOLUTE)).nan_to_num(0.0).clamp(min=floor)


def _filled(pixels: Tensor, blocks: tuple[int, int, int], value: float | bool) -> Tensor:
    """(B, C, h, w) with as many lines as the blocks need: an image's outermost pixels have no Laplacian."""
    rows, columns, side = blocks
    height, width = pixels.shape[-2:]
    below = max(0, rows * min(side, height) - height)
    right = max(0, columns * min(side, width) - width)
    return F.pad(pixels, (0, right, 0, below), value=value) if below or right else pixels


def _across(lines: Tensor, weight: float, step: int, width: int) -> Tensor:
    """Sum of every `step`-th pixel's left and right neighbours and `weight` times itself, along lines."""
    left, at, right = (lines[..., first : width - 2 + first : step] for first in range(3))
    return torch.add(left + right, at, alpha=weight)


def _disagreement(lowest: Tensor) -> Tensor:
    """Standard deviation (B, C) of the blocks' lowest levels about those of the blocks around them."""
    apart = (lowest - _smoothed(lowest)).abs().flatten(2)
    return (NOISE_FACTOR * lower_median(apart)).nan_to_num(0.0)


def _spread(residual: Tensor, usable: Tensor | None, floor: float) -> Tensor:
    """(B, C) standard deviation of the background, from the median absolute deviation, at least the floor."""
    if usable is not None:
        residual = residual.masked_fill(~usable, float("nan"))
    residual = residual.flatten(2)
    spread = lower_median(residual.masked_fill(residual > 0, float("nan")).abs())
    for _ in range(CLIPPINGS):
        limit = CLIP_SIGMAS * (NOISE_FACTOR * spread).clamp(min=floor)
        spread = lower_median(residual.masked_fill(residual > limit[..., None], float("nan")).abs())
    return (NOISE_FACTOR * spread).nan_to_num(0.0).clamp(min=floor)


def _smoothed(grid: Tensor) -> Tensor:
    """Median of 3 x 3 blocks, so that a block covered by a clump of cells does not lift the background."""
    padded = F.pad(grid, (1, 1, 1, 1), mode="replicate")
    rows, columns = grid.shape[-2:]
    neighbours = [padded[..., y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    return torch.stack(neighbours, -1).median(-1).values
