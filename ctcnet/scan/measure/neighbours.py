"""Neighbours: which pixels around an event belong to it and which to the events beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ctcnet.scan.measure.patches import exceeds, squared_distance

MOST_NEIGHBOURS = 16
"""Nearest events that are looked at for one event; more than fit around a cell."""

CLOSEST_SHARE = 0.8
"""Radii are limited to this share of the distance to the nearest event, so that no event loses its own centre."""


@dataclass(frozen=True)
class Neighbours:
    """Events around each event.

    Attributes:
        index: (N, K) int64, the nearest first; N where there are fewer.
        radius_px: (N,) float32, radii as limited by `CLOSEST_SHARE`.
    """

    index: np.ndarray
    radius_px: np.ndarray


@dataclass(frozen=True)
class Place:
    """Events of one chunk and those beside them, in pixels of the events' patches.

    Attributes:
        x, y, radius: (N,) float32, relative to the upper left pixel of the event's patch.
        beside: (3, N, K) float32, x, y and radius of the neighbours in the same patch's pixels.
        known: (N, K) bool, false where there is no neighbour.
        height, width: of the patches.
    """

    x: Tensor
    y: Tensor
    radius: Tensor
    beside: Tensor
    known: Tensor
    height: int
    width: int


def find_neighbours(x_px: np.ndarray, y_px: np.ndarray, radius_px: np.ndarray, reach_px: float) -> Neighbours:
    """Find the events within `reach_px` of each event.

    Args:
        x_px, y_px, radius_px: (N,) float32.
    """
    points = np.stack([x_px, y_px], axis=1).astype(np.float64)
    count = len(points)
    most = min(MOST_NEIGHBOURS, count - 1)
    if most < 1:
        return Neighbours(np.full((count, 0), count, np.int64), radius_px.astype(np.float32))
    found = KDTree(points).query(points, k=most + 1, distance_upper_bound=reach_px)
    distance, index = np.asarray(found[0]), np.asarray(found[1])
    # an event comes first in its own list, save where another has the very same centre
    own = index == np.arange(count)[:, None]
    own[~own.any(1), -1] = True
    distance, index = distance[~own].reshape(count, most), index[~own].reshape(count, most)
    radius = np.minimum(radius_px, CLOSEST_SHARE * distance[:, 0])
    used = int((index < count).any(0).sum())
    return Neighbours(index[:, :used].astype(np.int64), radius.astype(np.float32))


def own_territory(place: Place) -> Tensor:
    """Pixels that are nearer to an event than to any other, (N, h, w) bool.

    Nearness is the power of a point, squared distance less squared radius, so that the border between two touching
    discs passes through the point where they touch, whatever their sizes (a power diagram; Voronoi where radii are
    equal).
    """
    columns = torch.arange(place.width, device=place.x.device, dtype=torch.float32)
    rows = torch.arange(place.height, device=place.x.device, dtype=torch.float32)
    own = torch.ones((len(place.x), place.height, place.width), dtype=torch.bool, device=place.x.device)
    for which, other_x, other_y, other_radius in _one_by_one(place):
        x, y, radius = place.x[which], place.y[which], place.radius[which]
        constant = other_x.square() + other_y.square() - x.square() - y.square()
        constant = constant - other_radius.square() + radius.square()
        along_x = columns * (2 * (other_x - x))[:, None]
        along_y = rows * (2 * (other_y - y))[:, None] - constant[:, None]
        own[which] &= ~exceeds(along_x[:, None, :], -along_y[:, :, None])
    return own


def outside_cells(place: Place, step: int, gap_px: float, reach_px: float) -> Tensor:
    """Every `step`-th pixel of the patches: whether it is free, (N, h', w') bool.

    A free pixel is farther than `gap_px` from all discs, and not farther than `reach_px` from the event's own.
    """
    size = (place.height, place.width, step)
    distance = squared_distance(place.x, place.y, *size)
    free = exceeds(distance, (place.radius + gap_px).square()[:, None, None])
    free &= ~exceeds(distance, (place.radius + reach_px).square()[:, None, None])
    for which, other_x, other_y, other_radius in _one_by_one(place):
        distance = squared_distance(other_x, other_y, *size)
        free[which] &= exceeds(distance, (other_radius + gap_px).square()[:, None, None])
    return free


def _one_by_one(place: Place) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The events that have a k-th neighbour with its x, y and radius, for each k."""
    for k in range(place.known.shape[1]):
        which = place.known[:, k].nonzero().squeeze(1)
        if len(which):
            x, y, radius = place.beside[:, which, k]
            yield which, x, y, radius
