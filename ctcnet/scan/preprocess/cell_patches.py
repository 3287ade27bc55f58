"""Small windows around the cells of a frame: levels and radial profiles in every channel."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from torch import Tensor

from ctcnet.scan.windows import cut_windows

CELLS_AT_ONCE = 2000
"""Windows held at the same time: those of 100,000 cells in one frame would take 14 GB."""


def is_whole(x_px: np.ndarray, y_px: np.ndarray, shape: tuple[int, int], radius_px: float) -> np.ndarray:
    """Which discs of a radius around the points lie inside an image of `shape` (rows, columns); bool (N,)."""
    height, width = shape
    margin = math.ceil(radius_px) + 1
    inside_x = (x_px >= margin) & (x_px <= width - 1 - margin)
    return inside_x & (y_px >= margin) & (y_px <= height - 1 - margin)


def _windows(counts: Tensor, x_px: np.ndarray, y_px: np.ndarray, radius_px: float) -> tuple[Tensor, Tensor]:
    """Values (C, N, K) of square windows around whole discs, and the distance (N, K) of each pixel from its centre."""
    reach = math.ceil(radius_px) + 1
    step = torch.arange(-reach, reach + 1, device=counts.device)
    x = torch.as_tensor(np.asarray(x_px, np.float64), device=counts.device)
    y = torch.as_tensor(np.asarray(y_px, np.float64), device=counts.device)
    rows = y.round().long()[:, None] + step
    columns = x.round().long()[:, None] + step
    distance = ((rows - y[:, None]).square()[:, :, None] + (columns - x[:, None]).square()[:, None, :]).sqrt()
    side = len(step)
    return cut_windows(counts, rows[:, 0], columns[:, 0], side, side).flatten(2), distance.flatten(1)


def disc_means(
    counts: Tensor, x_px: np.ndarray, y_px: np.ndarray, radius_px: float, inner_px: float = -1.0
) -> np.ndarray:
    """Mean of every channel over the pixels whose centre lies within a radius of each point.

    Args:
        counts: (C, H, W) float32.
        x_px, y_px: (N,) centres whose discs lie in the image, see `is_whole`.
        radius_px: at least 0.75, so that a disc always holds a pixel.
        inner_px: pixels nearer than this are left out, which makes the disc a ring.

    Returns:
        float32 (N, C).
    """
    means = np.zeros((len(x_px), len(counts)), np.float32)
    for part in _parts(len(x_px)):
        values, distance = _windows(counts, x_px[part], y_px[part], radius_px)
        inside = ((distance <= radius_px) & (distance > inner_px)).view(torch.uint8).to(values.dtype)  # bool is slow
        means[part] = ((values * inside).sum(2) / inside.sum(1)).T.cpu().numpy()
    return means


def radial_profiles(image: Tensor, x_px: np.ndarray, y_px: np.ndarray, radius_px: int) -> np.ndarray:
    """Mean of an image over rings of one pixel around each point: float32 (N, radius); ring r holds r <= d < r + 1."""
    profiles = np.zeros((len(x_px), radius_px), np.float32)
    for part in _parts(len(x_px)):
        values, distance = _windows(image[None], x_px[part], y_px[part], radius_px)
        ring = distance.floor().clamp_(max=radius_px).long()  # what lies farther out goes to one ring more
        sums = values.new_zeros((len(ring), radius_px + 1)).scatter_add_(1, ring, values[0])
        pixels = torch.zeros_like(sums).scatter_add_(1, ring, torch.ones_like(values[0]))
        profiles[part] = (sums / pixels.clamp(min=1))[:, :radius_px].cpu().numpy()
    return profiles


def _parts(count: int) -> list[slice]:
    """Consecutive parts of `count` cells, `CELLS_AT_ONCE` or fewer each."""
    return [slice(start, start + CELLS_AT_ONCE) for start in range(0, count, CELLS_AT_ONCE)]


def diameters_px(profiles: np.ndarray, share: float) -> np.ndarray:
    """Diameter at which radial profiles over background first fall to a share of their innermost ring's height.

    Args:
        profiles: (N, R) from `radial_profiles`, background subtracted.
        share: of the height, 0 to 1.

    Returns:
        float64 (N,), interpolated between rings; NaN where the height is not positive or the profile never falls.
    """
    height = profiles[:, :2].max(axis=1, initial=-np.inf)
    below = profiles < share * height[:, None]
    outer = below.argmax(axis=1)
    found = below.any(axis=1) & (height > 0) & (outer > 0)
    rows = np.flatnonzero(found)
    result = np.full(len(profiles), np.nan)
    inside, outside = profiles[rows, outer[rows] - 1], profiles[rows, outer[rows]]
    between = (inside - share * height[rows]) / (inside - outside)
    result[rows] = 2 * (outer[rows] - 0.5 + between)
    return result


def has_no_neighbour(x_px: np.ndarray, y_px: np.ndarray, distance_px: float) -> np.ndarray:
    """Which points have no other point within a distance; bool (N,)."""
    if len(x_px) < 2:
        return np.ones(len(x_px), dtype=bool)
    points = np.column_stack([x_px, y_px]).astype(np.float64)
    nearest, _ = KDTree(points).query(points, k=2)
    return nearest[:, 1] > distance_px


def distance_to_events_px(x_px: np.ndarray, y_px: np.ndarray, shape: tuple[int, int], step_px: int) -> np.ndarray:
    """Distance from every `step_px`-th pixel of an image of `shape` to the nearest event, within a step's accuracy.

    Returns:
        float64, one value per pixel of `image[::step_px, ::step_px]`; infinity where there is no event.
    """
    height, width = (math.ceil(side / step_px) for side in shape)
    free = np.ones((height, width), dtype=bool)
    rows = np.clip(np.round(np.asarray(y_px) / step_px).astype(int), 0, height - 1)
    columns = np.clip(np.round(np.asarray(x_px) / step_px).astype(int), 0, width - 1)
    free[rows, columns] = False
    if free.all():
        return np.full((height, width), np.inf)
    return np.asarray(distance_transform_edt(free)) * step_px
