"""Peaks in scale space in the graph: the twin of `ctcnet.scan.detect.scale_space`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ctcnet.export.frame_graph.arrays.array import FLOAT, INT, Array, apply, plain
from ctcnet.export.frame_graph.arrays.elements import clip, maximum, minimum, where
from ctcnet.export.frame_graph.arrays.indices import nonzero, take
from ctcnet.export.frame_graph.arrays.loops import part
from ctcnet.export.frame_graph.arrays.shapes import END, axis, concat, cut, flat, pad, squeeze
from ctcnet.export.frame_graph.arrays.sums import largest_of
from ctcnet.scan.detect import scale_space as rule


@dataclass(frozen=True)
class PeakRows:
    """Peaks of a plane, (N,) float32 each, see `ctcnet.scan.detect.scale_space.Peaks`."""

    y: Array
    x: Array
    diameter_um: Array
    height: Array

    def take(self, rows: Array) -> PeakRows:
        """The peaks at `rows`."""
        return PeakRows(*(take(values, rows) for values in (self.y, self.x, self.diameter_um, self.height)))


def largest_nearby(plane: Array) -> Array:
    """(h, w) -> largest value of the 3 x 3 pixels around each."""
    return squeeze(apply("MaxPool", [axis(plane, 0, 1)], FLOAT, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 0, 1)


def opened(plane: Array) -> Array:
    """Grey-scale opening by 3 x 3 pixels."""
    return largest_nearby(-largest_nearby(-plane))


def blur(plane: Array, sigma_px: float) -> Array:
    """Gaussian blur of (h, w); the border's value goes on beyond it."""
    half = rule.gaussian_weights(sigma_px)
    taps = np.array(half[:0:-1] + half, np.float32)
    radius = len(half) - 1
    padded = axis(pad(plane, (radius, radius, radius, radius)), 0, 1)
    across = apply("Conv", [padded, plain(taps[None, None, None])], FLOAT, kernel_shape=[1, len(taps)])
    return squeeze(apply("Conv", [across, plain(taps[None, None, :, None])], FLOAT, kernel_shape=[len(taps), 1]), 0, 1)


def _levels(pixel_um: float, range_um: tuple[float, float]) -> list[tuple[float, float, int, bool]]:
    """Diameter, sigma in working pixels and step of each scale, and whether every second pixel is left out after it.

    The scan halves no plane less than 8 pixels high or wide; the graph halves it, so that in frames of less than 16
    working pixels (20 um) the two may differ.
    """
    diameters, step, levels = rule.scale_diameters_um(range_um), 1, []
    sigma = diameters[0] / rule.DIAMETER_PER_SIGMA / pixel_um
    for index, diameter in enumerate(diameters):
        wider = sigma * rule.SCALE_RATIO
        halved = index < len(diameters) - 1 and wider / step >= rule.OCTAVE_SIGMA_PX - 1e-6
        levels.append((diameter, sigma, step, halved))
        sigma, step = wider, step * 2 if halved else step
    return levels


def find_peaks(plane: Array, pixel_um: float, range_um: tuple[float, float], least_height: Array) -> PeakRows:
    """Peaks of a plane (h, w) at every scale; `least_height` is a scalar."""
    return part(_find_peaks, plane, pixel_um, range_um, least_height)


def _find_peaks(plane: Array, pixel_um: float, range_um: tuple[float, float], least_height: Array) -> PeakRows:
    found: list[PeakRows] = []
    responses: list[Array] = []
    scales: list[float] = []
    levels = _levels(pixel_um, range_um)
    plane = blur(plane, max(0.5, math.sqrt(max(0.0, levels[0][1] ** 2 - rule.PIXEL_SIGMA**2))))
    for diameter, sigma, step, halved in levels:
        wider = blur(plane, sigma / step * math.sqrt(rule.SCALE_RATIO**2 - 1))
        responses.append((plane - wider) / rule.DISC_RESPONSE)
        scales.append(diameter)
        plane = wider
        if halved or diameter == levels[-1][0]:
            found.append(_octave_peaks(responses, scales, step, least_height))
            plane = cut(cut(plane, 0, 0, END, 2), 1, 0, END, 2)
            responses, scales = [], []
    return PeakRows(*(concat([getattr(peaks, name) for peaks in found]) for name in PeakRows.__dataclass_fields__))


def _octave_peaks(responses: list[Array], scales: list[float], step: int, least_height: Array) -> PeakRows:
    best = apply("Max", responses, FLOAT)
    row, column = nonzero((best >= largest_nearby(best)) & (best > least_height))
    place = row * best.size(1) + column
    values = concat([axis(take(flat(response), place), 0) for response in responses])
    scale = apply("ArgMax", [values], INT, axis=0, keepdims=0)
    y = (row.to(FLOAT) + _vertex(best, row, column, 1, 0)) * step
    x = (column.to(FLOAT) + _vertex(best, row, column, 0, 1)) * step
    return PeakRows(y, x, take(plain(scales), scale), largest_of(values, 0))


def _vertex(plane: Array, row: Array, column: Array, down: int, across: int) -> Array:
    """Offset in pixels, within half a pixel, of the top of the parabola through a peak and its two neighbours."""
    height, width = plane.size(0), plane.size(1)
    values = flat(plane)

    def at(y: Array, x: Array) -> Array:
        return take(values, clip(y, 0, height - 1) * width + clip(x, 0, width - 1))

    centre, before, after = at(row, column), at(row - down, column - across), at(row + down, column + across)
    curvature = before - 2 * centre + after
    offset = 0.5 * (before - after) / where(curvature < 0, curvature, -1.0)
    return maximum(minimum(where(curvature < 0, offset, 0.0), 0.5), -0.5)
