"""Which background and scale the events of a frame are classified with.

What is not given follows from the frame: the background is that of detection, the scale that of its leukocytes, by the
rule of `ctcnet.scan.preprocess.levels` for a sample of this one frame. A model of the mode 'fixed' was trained with its
own constants and gets those, as in a scan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctcnet.cartridge_levels import CELL_RADIUS_UM, LEAST_SCALE_COUNTS, LEVEL_ROLES, NOISE_FACTOR
from ctcnet.export.frame_graph.arrays.array import BOOL, FLOAT, INT, Array, apply, as_array, plain
from ctcnet.export.frame_graph.arrays.elements import absolute, distance, maximum, minimum, rounded, where
from ctcnet.export.frame_graph.arrays.indices import marked, rows_of, take, take_along
from ctcnet.export.frame_graph.arrays.loops import loop
from ctcnet.export.frame_graph.arrays.shapes import arange, axis, concat, cut, full, pad, reshape, squeeze
from ctcnet.export.frame_graph.arrays.sorting import sort
from ctcnet.export.frame_graph.arrays.sums import count_of, running_sum, sum_of
from ctcnet.export.frame_graph.background import FrameBackground
from ctcnet.export.frame_graph.events import EventTable
from ctcnet.export.frame_graph.pairs import near_others
from ctcnet.model_card import ModelCard
from ctcnet.runtime.frame_predictor import GIVEN, OF_CROP, OF_FRAME, OF_MODEL
from ctcnet.scan.event_kinds import CELL, CLUSTER
from ctcnet.scan.preprocess import frame_sample, leukocytes
from ctcnet.scan.preprocess.levels import LEAST_LEVEL_NOISE_COUNTS
from ctcnet.scan.preprocess.levels_notes import LEAST_LEUKOCYTES

INT32 = np.dtype(np.int32)
_FAR = 3e38
PATCH_STEP_UM = 15.0
"""Distance of the cell-sized discs outside cells whose spread is the noise of a cell's level."""


@dataclass(frozen=True)
class FrameLevels:
    """Levels of the model's channels, (C,) each.

    Attributes:
        background, scale: float32 counts.
        background_source, scale_source: int32, see `ctcnet.runtime.frame_predictor.LEVEL_SOURCES`.
    """

    background: Array
    scale: Array
    background_source: Array
    scale_source: Array


def choose_levels(
    background: Array,
    scale: Array,
    counts: Array,
    events: EventTable,
    measured: FrameBackground,
    card: ModelCard,
    pixel_size_um: float,
) -> FrameLevels:
    """Levels given; for what is no usable number those of the frame, or else the model's own.

    Args:
        background, scale: (C,) as given.
        counts: (C, H, W) float32.
        events: all of the frame.
        measured: background of the frame.
        card: the model's.
        pixel_size_um: micrometres per pixel of the frame.
    """
    number = measured.level.size(0)
    if card.normalization.mode == "per_crop":
        unknown, source = full(number, float("nan"), FLOAT), full(number, OF_CROP, INT32)
        return FrameLevels(unknown, unknown, source, source)
    infinity = float("inf")
    known_background = (background < infinity) & (background > -infinity)
    known_scale = (scale > 0) & (scale < infinity)
    own = plain(card.normalization.scale)
    if card.normalization.mode == "fixed":
        found, enough = own, as_array(False, BOOL)
        own_background, background_source = plain(card.normalization.background), OF_MODEL
    else:
        own_background, background_source = measured.level, OF_FRAME
        wanted = count_of(~known_scale, 0) > 0

        def measure(_scale: Array) -> tuple[Array, list[Array]]:
            return as_array(False, BOOL), [_leukocyte_scale(counts, events, measured, card.panel.roles, pixel_size_um)]

        found = loop(as_array(1), [full(number, float("nan"), FLOAT)], wanted, measure)[0]
        enough = count_of(found > 0, 0) >= number
    return FrameLevels(
        where(known_background, background, own_background),
        where(known_scale, scale, where(enough, found, own)),
        where(known_background, plain(GIVEN, INT32), background_source),
        where(known_scale, plain(GIVEN, INT32), where(enough, plain(OF_FRAME, INT32), OF_MODEL)),
    )


def _leukocyte_scale(
    counts: Array, events: EventTable, measured: FrameBackground, roles: Sequence[str], pixel_size_um: float
) -> Array:
    """(C,) scale of the frame's leukocytes, NaN where there are too few of them."""
    background, noise = measured.level, measured.noise
    single = rows_of(events.kind < CLUSTER)
    y, x, kind = (take(values, single) for values in (events.y_px, events.x_px, events.kind))
    alone_px = frame_sample.ALONE_UM / pixel_size_um
    row, other, _ = near_others(y, x, 0 * y + alone_px, y, x)
    crowded = marked(y.size(0), row, absolute(row - other) > 0)
    reach_px = max(frame_sample.RING_UM[1], frame_sample.PROFILE_UM) / pixel_size_um
    cells = rows_of((kind < CELL + 1) & _is_whole(counts, y, x, reach_px))
    means = _disc_means(counts, take(y, cells), take(x, cells), pixel_size_um) - axis(background, 1)
    chosen = _leukocytes(means, _level_noise(counts, y, x, noise, pixel_size_um), roles)
    alone = chosen & ~take(crowded, cells)
    chosen = chosen & (alone | (count_of(alone, 0) < LEAST_LEUKOCYTES))
    level = absolute(_medians(means, axis(chosen, 0)))
    floor = maximum(noise, LEAST_SCALE_COUNTS)
    plain_role = plain([role in LEVEL_ROLES for role in roles], BOOL)
    scale = where(plain_role, maximum(level, floor), level + floor)
    return where(count_of(chosen, 0) >= LEAST_LEUKOCYTES, scale, float("nan"))


def _is_whole(counts: Array, y: Array, x: Array, radius_px: float) -> Array:
    """Which discs lie inside the frame, (N,) bool."""
    margin = math.ceil(radius_px) + 1.0
    height, width = (counts.size(number).to(FLOAT) for number in (1, 2))
    return (x >= margin) & (x <= width - 1 - margin) & (y >= margin) & (y <= height - 1 - margin)


def _disc_means(counts: Array, y: Array, x: Array, pixel_size_um: float) -> Array:
    """(C, N) mean counts over discs of a cell's size that lie in the frame."""
    radius_px = max(CELL_RADIUS_UM / pixel_size_um, 1.0)
    reach = math.ceil(radius_px) + 1
    step = plain(np.arange(-reach, reach + 1), INT)
    rows, columns = (axis(rounded(place).to(INT), 1) + axis(step, 0) for place in (y, x))
    away = distance(axis(rows.to(FLOAT) - axis(y, 1), 2), axis(columns.to(FLOAT) - axis(x, 1), 1))
    disc = (away <= radius_px).to(FLOAT)
    pixels = reshape(counts, counts.size(0), -1)
    values = take(pixels, axis(rows * counts.size(2), 2) + axis(columns, 1), 1)
    return sum_of(values * disc, 2, 3) / sum_of(disc, 1, 2)


def _level_noise(counts: Array, y: Array, x: Array, noise: Array, pixel_size_um: float) -> Array:
    """(C,) standard deviation of a cell's level where there is no cell; that of pixels where there is no room."""
    step = PATCH_STEP_UM / pixel_size_um
    rows, columns = ((counts.size(number).to(FLOAT) / step).to(INT) + 1 for number in (1, 2))
    grid = arange(rows * columns)
    line = grid // columns
    grid_y, grid_x = line.to(FLOAT) * step, (grid - line * columns).to(FLOAT) * step
    near, _, _ = near_others(grid_y, grid_x, 0 * grid_y + frame_sample.OUTSIDE_UM / pixel_size_um, y, x)
    taken = marked(grid.size(0), near, near >= 0)
    free = rows_of(~taken & _is_whole(counts, grid_y, grid_x, max(CELL_RADIUS_UM / pixel_size_um, 1.0)))
    means = _disc_means(counts, take(grid_y, free), take(grid_x, free), pixel_size_um)
    every = means < float("inf")
    spread = NOISE_FACTOR * _medians(absolute(means - axis(_medians(means, every), 1)), every)
    enough = free.size(0) >= LEAST_LEUKOCYTES
    return maximum(where(enough, spread, noise), LEAST_LEVEL_NOISE_COUNTS)


def _leukocytes(level: Array, noise: Array, roles: Sequence[str]) -> Array:
    """(N,) bool, which cells are leukocytes by their levels (C, N), see `ctcnet.scan.preprocess.leukocytes`."""
    kept = squeeze(cut(level, 0, 0, 1), 0) < float("inf")
    for channel, role in enumerate(roles):
        if role == "leukocyte":
            kept = kept & _stained(*_of_channel(level, noise, channel))
    for channel, role in enumerate(roles):
        if role in ("epithelial", "mesenchymal"):
            kept = kept & ~_outlying(*_of_channel(level, noise, channel), kept)
    return kept


def _of_channel(level: Array, noise: Array, channel: int) -> tuple[Array, Array]:
    return squeeze(cut(level, 0, channel, channel + 1), 0), squeeze(cut(noise, 0, channel, channel + 1), 0)


def _stained(level: Array, noise: Array) -> Array:
    stained = level > leukocytes.GATE_SNR * noise
    stained = stained & (level > _split(level, stained))
    return stained & (level >= _median(level, stained) / leukocytes.FAINT_SHARE)


def _split(level: Array, stained: Array) -> Array:
    """Threshold between two groups of stained levels, a scalar; 0 where they are better described as one group."""
    logs = apply("Log", [where(stained, maximum(level, 1e-6), 1.0)], FLOAT)
    number = count_of(stained, 0)
    size = level.size(0)
    ordered = sort(where(stained, logs, 3e38), size)[0]
    ordered = where(arange(size) < number, ordered, 0.0)
    total, count = sum_of(ordered, 0), maximum(number, 1).to(FLOAT)
    mean = total / count
    apart = where(arange(size) < number, ordered - mean, 0.0)
    spread = sum_of(apart * apart, 0)
    below = (arange(size) + 1).to(FLOAT)
    lower = running_sum(apart)  # about the mean, so that the total is 0
    between = lower * lower / below + lower * lower / maximum(count - below, 1.0)
    between = where(arange(size) < number - 1, between, -1.0)
    padded = concat([plain([-2.0]), between])
    place = apply("ArgMax", [padded], INT, axis=0, keepdims=0)  # of groups of so many and the rest
    largest = take(padded, place)
    share = minimum(place, number - place).to(FLOAT) / count
    values = concat([plain([0.0]), ordered, plain([0.0])])  # the first of them stands at 1
    gap = _middle(values, place, number - place) - _middle(values, as_array(0), place)
    two = (place > 0) & (largest >= leukocytes.SPLIT_QUALITY * spread) & (spread > 0)
    two = two & (gap >= math.log(leukocytes.SPLIT_FACTOR)) & (share >= leukocytes.LEAST_SPLIT_SHARE)
    threshold = apply("Exp", [(take(values, place) + take(values, place + 1)) / 2], FLOAT)
    return where(two, threshold, 0.0)


def _middle(values: Array, first: Array, number: Array) -> Array:
    """Median of so many ordered values after `first` of them; `values` begins with one more."""
    least = maximum(number, 1)
    return (take(values, first + 1 + (least - 1) // 2) + take(values, first + 1 + least // 2)) / 2


def _outlying(level: Array, noise: Array, kept: Array) -> Array:
    typical = _median(level, kept)
    deviation = maximum(NOISE_FACTOR * _median(absolute(level - typical), kept), noise)
    high = level > typical + leukocytes.OUTLIER_SNR * deviation
    return high & (level > leukocytes.OUTLIER_FACTOR * maximum(typical, noise))


def _median(values: Array, mask: Array) -> Array:
    """Median of the values (N,) that a mask (N,) lets through, a scalar."""
    return squeeze(_medians(axis(values, 0), axis(mask, 0)), 0)


def _medians(values: Array, mask: Array) -> Array:
    """(C,) medians of the values (C, N) that a mask lets through, 0 where that is nothing."""
    one_more = pad(where(mask, values, _FAR), (0, 0, 0, 1), "constant", _FAR)
    ordered = sort(one_more, one_more.size(1))[0]
    number = count_of(one_more < _FAR, 1)
    last = maximum(number - 1, 0)
    places = last // 2, minimum(number // 2, last)
    low, high = (squeeze(take_along(ordered, axis(place, 1), 1), 1) for place in places)
    return where(number > 0, (low + high) / 2, 0.0)
