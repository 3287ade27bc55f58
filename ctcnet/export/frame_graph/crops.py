"""Crops of a table's events cut at the model's scale, measured and classified, a batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from ctcnet.export.frame_graph.arrays.array import BOOL, FLOAT, INT, Array, plain
from ctcnet.export.frame_graph.arrays.elements import clip, maximum, minimum, rounded, where
from ctcnet.export.frame_graph.arrays.indices import take
from ctcnet.export.frame_graph.arrays.loops import batches
from ctcnet.export.frame_graph.arrays.model import inlined
from ctcnet.export.frame_graph.arrays.shapes import arange, axis, concat, cut, flat, full, reshape
from ctcnet.export.frame_graph.arrays.sums import matmul, sum_of
from ctcnet.export.frame_graph.events import EventTable
from ctcnet.export.frame_graph.levels import FrameLevels
from ctcnet.model_card import ModelCard
from ctcnet.resampling import resampling_matrix

BATCH = 64
"""Crops that the network sees at once: more of them leave a core's cache, and memory does not grow with the events."""


@dataclass(frozen=True)
class Answers:
    """What is said of each of N events.

    Attributes:
        probabilities: (N, K) float32.
        unassigned: (N,) bool.
        atypicality: (N,) float32.
        mean: (N, C) float32, mean counts over the disc of the event's diameter.
    """

    probabilities: Array
    unassigned: Array
    atypicality: Array
    mean: Array


def classify(
    counts: Array,
    events: EventTable,
    fill: Array,
    levels: FrameLevels,
    crop_graph: onnx.ModelProto,
    card: ModelCard,
    pixel_size_um: float,
) -> Answers:
    """Classify the events of a frame.

    Args:
        counts: (C, H, W) float32.
        events: N of them, on it.
        fill: (C,) counts where a crop reaches beyond the frame.
        levels: for the network.
        crop_graph: ONNX model with inputs crops (float32), background and scale.
        card: its card.
        pixel_size_um: micrometres per pixel of the frame.
    """
    network = ir.from_proto(crop_graph)
    side, weights = _patch(card.crop_size_px, card.pixel_size_um / pixel_size_um)
    channels, height, width = (counts.size(number) for number in range(3))
    pixels = flat(counts)
    number = events.number
    beside = [
        concat([values, full(1 - minimum(number, 1), 0, values.dtype)])
        for values in (events.y_px, events.x_px, events.diameter_um)
    ]  # one row at least
    planes = axis(arange(channels) * (height * width), 0, 2, 3)
    offset = arange(side)

    def batch(index: Array) -> list[Array]:
        rows = minimum(index * BATCH + arange(BATCH), maximum(number - 1, 0))
        y_px, x_px, diameter_um = (take(values, rows) for values in beside)
        top, left = (rounded(place - (side - 1) / 2).to(INT) for place in (y_px, x_px))
        row, column = (axis(first, 1) + axis(offset, 0) for first in (top, left))
        inside = axis((row >= 0) & (row < height), 1, 3) & axis((column >= 0) & (column < width), 1, 2)
        line, place = axis(clip(row, 0, height - 1) * width, 1, 3), axis(clip(column, 0, width - 1), 1, 2)
        patches = where(inside, take(pixels, planes + line + place), axis(fill, 0, 2, 3))
        radius = axis(maximum(diameter_um / (2 * pixel_size_um), 1.0), 1)
        down, across = row.to(FLOAT) - axis(y_px, 1), column.to(FLOAT) - axis(x_px, 1)
        square = axis(down * down, 1, 3) + axis(across * across, 1, 2)
        disc = (inside & (square <= axis(radius * radius, 1, 2))).to(FLOAT)
        total = maximum(sum_of(disc, 2, 3), 1.0)
        mean = sum_of(patches * disc, 2, 3) / total
        if weights is not None:
            patches = matmul(plain(weights), matmul(patches, np.ascontiguousarray(weights.T)))
        crops = clip(rounded(patches), 0, 65535)
        given = {"crops": crops, "background": levels.background, "scale": levels.scale}
        return [
            *inlined(network, given, [("probabilities", FLOAT), ("unassigned", BOOL), ("atypicality", FLOAT)]),
            mean,
        ]

    stacked = batches(maximum((number + BATCH - 1) // BATCH, 1), batch)
    classes, channels = stacked[0].size(2), stacked[3].size(2)
    rest = ([classes], [], [], [channels])
    return Answers(*(cut(reshape(v, v.size(0) * BATCH, *r), 0, 0, number) for v, r in zip(stacked, rest, strict=True)))


def _patch(crop_size_px: int, step_px: float) -> tuple[int, np.ndarray | None]:
    """Side of a patch and the weights that make a crop of it, as `ctcnet.scan.pipeline.crop_cutting.CropCutter`."""
    if abs(step_px - 1) < 1e-6:
        return crop_size_px, None
    side = math.ceil(crop_size_px * step_px + 2 * max(step_px, 1.0)) + 1
    return side, resampling_matrix(side, crop_size_px, step_px)[0]
