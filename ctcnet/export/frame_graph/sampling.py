"""Values of a plane between its pixels in the graph: the twin of `ctcnet.scan.detect.sampling` and of valleys."""

from __future__ import annotations

import numpy as np

from ctcnet.export.frame_graph.arrays.array import FLOAT, INT, Array, plain
from ctcnet.export.frame_graph.arrays.elements import clip, distance, floor, maximum, minimum, where
from ctcnet.export.frame_graph.arrays.indices import last, take
from ctcnet.export.frame_graph.arrays.shapes import axis, cut, flat, squeeze
from ctcnet.export.frame_graph.arrays.sums import least_of, mean_of
from ctcnet.scan.detect import suppression as rule


def sample(plane: Array, y: Array, x: Array) -> Array:
    """Bilinear interpolation of (h, w) at places of any shape; beyond the border the border's value."""
    height, width = plane.size(0), plane.size(1)
    y, x = clip(y, 0, (height - 1).to(FLOAT)), clip(x, 0, (width - 1).to(FLOAT))
    top, left = floor(y), floor(x)
    down, across = y - top, x - left
    values = flat(plane)
    row, column = top.to(INT), left.to(INT)
    start = row * width + column
    right = where(column < width - 1, plain(1, INT), 0)
    below = where(row < height - 1, width, 0)
    upper = _between(take(values, start), take(values, start + right), across)
    lower = _between(take(values, start + below), take(values, start + below + right), across)
    return _between(upper, lower, down)


def _between(a: Array, b: Array, share: Array) -> Array:
    return a + share * (b - a)


def valley_ratio(
    plane: Array, y: Array, x: Array, level: Array, first: Array, second: Array, bulge: float = 0.0
) -> Array:
    """Lowest height on the way between two peaks as a share of the lower peak's, see `suppression.valley_ratio`.

    Args:
        plane: (h, w) float32.
        y, x, level: (N,) places in pixels of the plane, and background there.
        first, second: (P,) rows of peaks.
        bulge: height of the arc on which the way runs, as a share of the distance.

    Returns:
        (P,) float32.
    """
    share = np.linspace(0, 1, rule.SAMPLES, dtype=np.float32)[None, None]
    aside = np.array([-1.0, 0.0, 1.0], np.float32)[None, :, None]
    y0, x0 = take(y, first), take(x, first)
    dy, dx = axis(take(y, second) - y0, 1, 2), axis(take(x, second) - x0, 1, 2)
    away = aside / maximum(distance(dy, dx), 1e-6) + plain(bulge * 4 * share * (1 - share))
    along_y = axis(y0, 1, 2) + share * dy + away * dx
    along_x = axis(x0, 1, 2) + share * dx - away * dy
    height = mean_of(sample(plane, along_y, along_x), 1)
    height = height - axis((take(level, first) + take(level, second)) / 2, 1)
    ends = maximum(minimum(squeeze(cut(height, 1, 0, 1), 1), last(height)), 1e-6)
    return clip(least_of(height, 1) / ends, 0, 1)
