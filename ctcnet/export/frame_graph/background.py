"""Background and noise of a frame in the graph: the twin of `ctcnet.scan.detect.background`, for whole frames."""

from __future__ import annotations

from dataclasses import dataclass

from ctcnet.cartridge_levels import NOISE_FACTOR
from ctcnet.export.frame_graph.arrays.array import FLOAT, INT, Array, Operand
from ctcnet.export.frame_graph.arrays.elements import absolute, clip, floor, maximum, minimum, where
from ctcnet.export.frame_graph.arrays.indices import last, take, take_along
from ctcnet.export.frame_graph.arrays.loops import part
from ctcnet.export.frame_graph.arrays.shapes import END, axis, concat, cut, flat, pad, reshape, transpose
from ctcnet.export.frame_graph.arrays.sorting import median, sort
from ctcnet.export.frame_graph.arrays.sums import count_of, mean_of, running_sum, sum_of
from ctcnet.scan.detect import background as rule


@dataclass(frozen=True)
class FrameBackground:
    """Background of a frame, see `ctcnet.scan.detect.background.Background`.

    Attributes:
        grid: (C, rows, columns) float32.
        block_px: side of a block, scalar int64.
        level, noise: (C,) float32.
    """

    grid: Array
    block_px: Array
    level: Array
    noise: Array

    def at(self, channel: int, y_px: Array, x_px: Array) -> Array:
        """(N,) level at places in pixels, interpolated between the blocks' centres."""
        rows, columns = self.grid.size(1), self.grid.size(2)
        side = self.block_px.to(FLOAT)
        row = clip((y_px + 0.5) / side - 0.5, 0, (rows - 1).to(FLOAT))
        column = clip((x_px + 0.5) / side - 0.5, 0, (columns - 1).to(FLOAT))
        top, left = floor(row).to(INT), floor(column).to(INT)
        bottom, right = minimum(top + 1, rows - 1), minimum(left + 1, columns - 1)
        down, across = row - top.to(FLOAT), column - left.to(FLOAT)
        levels = flat(cut(self.grid, 0, channel, channel + 1))
        upper = take(levels, top * columns + left) * (1 - across) + take(levels, top * columns + right) * across
        lower = take(levels, bottom * columns + left) * (1 - across) + take(levels, bottom * columns + right) * across
        return upper * (1 - down) + lower * down


@dataclass(frozen=True)
class _Blocks:
    """How a frame is divided: sizes in samples, scalars int64."""

    step: Array
    rows: Array
    columns: Array
    side: Array

    def of(self, pixels: Array) -> Array:
        """(C, h, w) of every `step`-th pixel -> (C, rows, columns, n)."""
        side_y, side_x = minimum(self.side, pixels.size(1)), minimum(self.side, pixels.size(2))
        inside = cut(cut(pixels, 1, 0, self.rows * side_y), 2, 0, self.columns * side_x)
        channels = pixels.size(0)
        blocks = reshape(inside, channels, self.rows, side_y, self.columns, side_x)
        return reshape(transpose(blocks, 0, 1, 3, 2, 4), channels, self.rows, self.columns, side_y * side_x)


def measure_background(counts: Array, pixel_size_um: float, noise_floor_counts: float) -> FrameBackground:
    """Background and noise of counts (C, H, W) float32, H and W at least 16."""
    return part(_measure_background, counts, pixel_size_um, noise_floor_counts)


def _measure_background(counts: Array, pixel_size_um: float, noise_floor_counts: float) -> FrameBackground:
    height, width = counts.size(1), counts.size(2)
    block = maximum(minimum(minimum(height, width), round(rule.BLOCK_UM / pixel_size_um)), 8)
    step = maximum(block // rule.SAMPLES_PER_SIDE, 1)
    block = maximum(block // step * step, step)
    blocks = _Blocks(step, maximum(height // block, 1), maximum(width // block, 1), block // step)
    sampled = blocks.of(_every(_every(counts, 1, 0, END, step), 2, 0, END, step))
    grain = _grain(counts, step, noise_floor_counts)
    finest = _finest_noise(counts, blocks, noise_floor_counts)
    level, lowest = _clipped_levels(sampled, noise_floor_counts)
    limit = minimum(rule.ABOVE_LOWEST * grain, rule.ABOVE_LOWEST_FINEST * finest)
    above = (level > lowest + axis(limit, 1, 2)).to(FLOAT)
    crowded = mean_of(above, 1, 2) > rule.CROWDED_SHARE
    level = where(axis(crowded, 1, 2), lowest, level)
    levels = reshape(level, level.size(0), -1)
    typical = median(levels, levels.size(1))
    grid = _smoothed(level)
    noise = _spread(sampled - axis(grid, 3), noise_floor_counts)
    return FrameBackground(grid, block, typical, where(crowded, minimum(noise, finest), noise))


def _every(values: Array, along: int, start: Operand, stop: Operand, step: Array) -> Array:
    return cut(values, along, start, stop, step)


def _clipped_levels(sampled: Array, least: float) -> tuple[Array, Array]:
    """(C, rows, columns) mean of what is left after clipping, and 5th percentile."""
    number = sampled.size(3)
    ordered = sort(sampled, number)[0]
    kept = count_of(ordered >= cut(ordered, 3, 0, 1), 3)  # all of them
    limit = cut(ordered, 3, 0, 1)
    for _ in range(rule.CLIPPINGS):
        level = take_along(ordered, axis((kept - 1) // 2, 3))
        lower = take_along(ordered, axis((kept.to(FLOAT) * rule.LOWER_SIGMA).to(INT), 3))
        limit = level + rule.CLIP_SIGMAS * maximum(level - lower, least)
        kept = maximum(minimum(count_of(ordered <= limit, 3), kept), 1)
    left = where(ordered <= limit, ordered, 0.0)
    lowest = take(ordered, minimum((number.to(FLOAT) * rule.LOWEST).to(INT), number - 1), 3)
    return sum_of(left, 3) / kept.to(FLOAT), lowest


def _grain(counts: Array, step: Array, least: float) -> Array:
    """(C,) noise as the differences of neighbouring pixels show it."""
    lines = _every(counts, 1, 0, END, step)
    right, left = _every(lines, 2, 1, END, step), _every(lines, 2, 0, counts.size(2) - 1, step)
    difference = reshape(absolute(right - left), counts.size(0), -1)
    rank = (difference.size(1).to(FLOAT) * rule.GRAIN_SHARE).to(INT)
    share = last(sort(difference, rank + 1)[0])
    return maximum(share / (rule.GRAIN_SIGMAS * 2**0.5), least)


def _finest_noise(counts: Array, blocks: _Blocks, least: float) -> Array:
    """(C,) noise of the darkest places of each block, without the structure of cells."""
    height, width = counts.size(1), counts.size(2)
    above, at, below = (_every(counts, 1, first, height - 2 + first, blocks.step) for first in range(3))
    around = above + below
    fine = _across(around - 2 * at, -2.0, blocks.step, width)
    mean = _across(around + at, 1.0, blocks.step, width)
    mean = blocks.of(_filled(mean, blocks, float("inf")))
    fine = blocks.of(_filled(absolute(fine), blocks, float("inf")))
    share = maximum((rule.DARKEST * mean.size(3).to(FLOAT)).to(INT), 1)
    darkest = sort(mean, share)[1]
    dark = reshape(take_along(fine, darkest, 3), counts.size(0), -1)
    known = count_of(dark < float("inf"), 1)
    ordered = sort(dark, dark.size(1))[0]
    typical = take_along(ordered, axis(maximum(known - 1, 0) // 2, 1))
    typical = where(known > 0, flat(typical), 0.0)
    return maximum(typical / (6 * rule.MEDIAN_ABSOLUTE), least)


def _filled(pixels: Array, blocks: _Blocks, value: float) -> Array:
    """(C, h, w) with as many lines as the blocks need: an image's outermost pixels have no Laplacian."""
    height, width = pixels.size(1), pixels.size(2)
    below = maximum(blocks.rows * minimum(blocks.side, height) - height, 0)
    right = maximum(blocks.columns * minimum(blocks.side, width) - width, 0)
    return pad(pixels, (0, 0, 0, 0, below, right), "constant", value)


def _across(lines: Array, weight: float, step: Array, width: Array) -> Array:
    left, at, right = (_every(lines, 2, first, width - 2 + first, step) for first in range(3))
    return left + right + weight * at


def _spread(residual: Array, least: float) -> Array:
    """(C,) standard deviation of the background: one sort serves all clippings, which take values away at the top."""
    values = reshape(residual, residual.size(0), -1)
    ordered, place = sort(absolute(values), values.size(1))
    positive = take_along(values, place) > 0
    spread = _median_of_kept(ordered, ~positive)
    for _ in range(rule.CLIPPINGS):
        limit = rule.CLIP_SIGMAS * maximum(NOISE_FACTOR * spread, least)
        spread = _median_of_kept(ordered, ~(positive & (ordered > axis(limit, 1))))
    return maximum(NOISE_FACTOR * spread, least)


def _median_of_kept(ordered: Array, kept: Array) -> Array:
    """(C,) lower median of some of the values (C, n), which are in order; 0 where none is kept."""
    number = count_of(kept, 1)
    before = count_of(running_sum(kept.to(INT), 1) <= axis(maximum(number - 1, 0) // 2, 1), 1)
    place = minimum(before, ordered.size(1) - 1)
    return where(number > 0, flat(take_along(ordered, axis(place, 1))), 0.0)


def _smoothed(grid: Array) -> Array:
    """Median of 3 x 3 blocks."""
    rows, columns = grid.size(1), grid.size(2)
    padded = pad(grid, (0, 1, 1, 0, 1, 1))
    lines = [cut(padded, 1, y, rows + y) for y in range(3)]
    return median(concat([axis(cut(line, 2, x, columns + x), 3) for line in lines for x in range(3)], 3), 9)
