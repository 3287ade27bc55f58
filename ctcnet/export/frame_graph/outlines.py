"""Centres and diameters from rays in the graph: the twin of `ctcnet.scan.detect.outlines`."""

from __future__ import annotations

import math

import numpy as np

from ctcnet.export.frame_graph.arrays.array import INT, Array, plain
from ctcnet.export.frame_graph.arrays.elements import clip, distance, maximum, minimum, sqrt, where
from ctcnet.export.frame_graph.arrays.indices import last, take, take_along
from ctcnet.export.frame_graph.arrays.loops import part
from ctcnet.export.frame_graph.arrays.shapes import arange, axis, cut, flat, pad, squeeze, transpose
from ctcnet.export.frame_graph.arrays.sorting import sort_rows
from ctcnet.export.frame_graph.arrays.sums import least_of, sum_of
from ctcnet.export.frame_graph.sampling import sample
from ctcnet.scan.detect import outlines as rule

_FAR = 3e38
_ANGLES = np.arange(rule.RAYS, dtype=np.float32) * np.float32(2 * math.pi / rule.RAYS)
_SINE, _COSINE = np.sin(_ANGLES)[None, :, None], np.cos(_ANGLES)[None, :, None]


def outline(
    plane: Array, y: Array, x: Array, level: Array, share: float, largest_um: float, pixel_um: float
) -> tuple[Array, Array, Array, Array]:
    """Centre in working pixels, diameter in um and height in counts of what stands at each of N places.

    Args:
        plane: (h, w) float32.
        y, x, level: (N,) places in working pixels, and background there.
        share: share of the height at which it ends.
        largest_um: rays end at half of this.
        pixel_um: size of a working pixel.
    """
    return part(_outline, plane, y, x, level, share, largest_um, pixel_um)


def _outline(
    plane: Array, y: Array, x: Array, level: Array, share: float, largest_um: float, pixel_um: float
) -> tuple[Array, Array, Array, Array]:
    radii = _radii(largest_um / 2 / pixel_um)
    values = _rays(plane, y, x, radii) - axis(level, 1, 2)
    centre = sample(plane, y, x) - level
    height = (centre + sum_of(cut(values, 2, 0, 2), 1, 2) / float(rule.RAYS)) / 3
    first_y, first_x, first = _centre_and_radius(values, height, share, radii, y, x)
    moved = distance(first_y - y, first_x - x) > rule.MOVED * first
    values = _rays(plane, first_y, first_x, radii) - axis(level, 1, 2)
    again_y, again_x, again = _centre_and_radius(values, height, share, radii, first_y, first_x)
    radius = where(moved, again, first)
    return where(moved, again_y, first_y), where(moved, again_x, first_x), 2 * radius * pixel_um, height


def stained_diameter(
    plane: Array, y: Array, x: Array, level: Array, least: Array, nucleus_um: Array, largest_um: float, pixel_um: float
) -> Array:
    """(N,) diameter in um of the stained area around nuclei, 0 where nothing is stained, see `outlines`.

    Args:
        plane: (h, w) float32.
        y, x, level: (N,) centres in working pixels, and background there.
        least: height in counts, a scalar, below which a ring is not believed.
        nucleus_um: (N,) diameter of the nuclei.
        largest_um: rays end at half of this.
        pixel_um: size of a working pixel.
    """
    radii = _radii(largest_um / 2 / pixel_um)
    rays = transpose(_rays(plane, y, x, radii), 0, 2, 1)
    profile = _median(rays, 3) - axis(level, 1)
    nearby = axis(plain(radii * np.float32(pixel_um)), 0)
    looked_at = where(nearby <= axis(nucleus_um, 1) / 2 + 2.5, profile, -_FAR)
    ring, place = sort_rows(looked_at, 1, 2, largest=True)
    index = axis(arange(len(radii)), 0)
    outside = where(index < place, _FAR, profile)
    edge = _edges(axis(outside, 1), axis(ring, 2), rule.CELL_LEVEL, radii)
    return where(flat(ring) > least, 2 * pixel_um * flat(edge), 0.0)


def _radii(largest_px: float) -> np.ndarray:
    return np.arange(1, max(4, math.ceil(largest_px / rule.STEP_PX)) + 1, dtype=np.float32) * np.float32(rule.STEP_PX)


def _rays(plane: Array, y: Array, x: Array, radii: np.ndarray) -> Array:
    """(N, rays, radii) values."""
    return sample(plane, axis(y, 1, 2) + _SINE * radii, axis(x, 1, 2) + _COSINE * radii)


def _centre_and_radius(
    values: Array, height: Array, share: float, radii: np.ndarray, y: Array, x: Array
) -> tuple[Array, Array, Array]:
    """Centroid of the area within the rays' edges, as sectors of circles, and the radius of a disc of that area."""
    edge = _edges(values, axis(height, 1, 2), share, radii)
    edge = minimum(edge, rule.LONGEST_RAY * axis(_median(edge, 2), 1))
    square = edge * edge
    area, cubed = sum_of(square, 1), square * edge
    down, across = (2 / 3 * sum_of(cubed * part[..., 0], 1) / area for part in (_SINE, _COSINE))
    return y + down, x + across, sqrt(area / float(rule.RAYS))


def _edges(values: Array, height: Array, share: float, radii: np.ndarray) -> Array:
    """(N, rays) radius at which each ray (N, rays, radii) ends; `height` is (N, 1, 1)."""
    steps = len(radii)
    threshold = share * height
    lowest = _running_least(values, steps)
    below = values < threshold
    rising = (values > rule.RISE * lowest) & (lowest < rule.VALLEY * height)
    index = plain(np.arange(steps), INT)
    first_below = least_of(where(below, index, steps), 2)
    first_rise = least_of(where(rising, index, steps), 2)
    inner, outer = clip(first_below - 1, 0, steps - 1), minimum(first_below, steps - 1)
    before, after = (squeeze(take_along(values, axis(at, 2)), 2) for at in (inner, outer))
    ends = squeeze(threshold, 2)
    part = clip((before - ends) / maximum(before - after, 1e-6), 0, 1)
    radius = plain(radii)
    inside = take(radius, inner)
    crossing = inside + part * (take(radius, outer) - inside)
    turning = take(radius, maximum(first_rise - 1, 0))
    return where(first_rise < first_below, turning, crossing)


def _median(values: Array, axes: int) -> Array:
    """Lower median over the rays along the last axis."""
    return last(sort_rows(values, (rule.RAYS - 1) // 2 + 1, axes)[0])


def _running_least(values: Array, steps: int) -> Array:
    """Least value up to each place along the last axis, by doubling."""
    shift = 1
    while shift < steps:
        earlier = pad(cut(values, 2, 0, steps - shift), (0, 0, shift, 0, 0, 0), "constant", _FAR)
        values = minimum(values, earlier)
        shift *= 2
    return values
