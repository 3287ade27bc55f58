"""One peak for each event: peaks that are not parted from a stronger one by a valley are left out."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ctcnet.scan.detect.sampling import sample

SAMPLES = 9
_CHUNK = 32768


def strongest(strength: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Greedy suppression: going from the strongest down, each peak that stands removes those that it is paired with.

    Worked in rounds over all pairs at once: a peak stands when no stronger one that is still in play is paired with it.
    Of equals the lower row is the stronger.

    Args:
        strength: (N,) of each peak.
        pairs: (P, 2) int64, rows of which only one may stay.

    Returns:
        (N,) bool, whether each peak stays.
    """
    order = np.lexsort((np.arange(len(strength)), -strength))
    rank = np.empty(len(strength), np.int64)
    rank[order] = np.arange(len(strength))
    swapped = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    stronger = np.where(swapped, pairs[:, 1], pairs[:, 0])
    weaker = np.where(swapped, pairs[:, 0], pairs[:, 1])
    open_, stays = np.ones(len(strength), bool), np.zeros(len(strength), bool)
    while open_.any():
        threatened = np.zeros(len(strength), bool)
        threatened[weaker] = True
        stands = open_ & ~threatened
        stays |= stands
        open_ &= ~stands
        open_[weaker[stands[stronger]]] = False
        going = open_[stronger] & open_[weaker]
        stronger, weaker = stronger[going], weaker[going]
    return stays


def near_pairs(y: np.ndarray, x: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Pairs of places nearer to each other than the larger of their two reaches; (P, 2) int64, sorted.

    Places are taken in classes of reach, so that a few far-reaching ones do not make everyone's neighbourhood large.
    """
    points = np.column_stack((y, x)).astype(np.float64)
    if len(points) < 2:
        return np.empty((0, 2), np.int64)
    tree, found = KDTree(points), []
    classes = np.ceil(np.log2(np.maximum(reach, 1e-6)) * 2)
    for value in np.unique(classes):
        rows = np.flatnonzero(classes == value)
        near = KDTree(points[rows]).sparse_distance_matrix(tree, reach[rows].max(), output_type="ndarray")
        first, second = rows[near["i"]], near["j"].astype(np.int64)
        kept = (first != second) & (near["v"] < reach[first])
        found.append(np.column_stack((first[kept], second[kept])))
    pairs = np.sort(np.concatenate(found), 1)
    return np.unique(pairs, axis=0) if len(pairs) else np.empty((0, 2), np.int64)


def valley_ratio(
    plane: Tensor, image: Tensor, y: Tensor, x: Tensor, level: Tensor, pairs: Tensor, bulge: float = 0.0
) -> Tensor:
    """Lowest height on the way between two peaks as a share of the lower peak's height; 1 where there is no valley.

    Each place on the way is the mean over three parallel ways one pixel apart: a valley between two cells runs
    across, a dark spot within one nucleus does not.

    Args:
        plane: (B, h, w) float32.
        image, y, x: (N,) row of the batch and places of the peaks in pixels of the plane.
        level: (N,) background in counts.
        pairs: (P, 2) int64 rows of peaks.
        bulge: height of the arc on which the way runs, as a share of the distance; 0 is straight.

    Returns:
        (P,) float32.
    """
    share = torch.linspace(0, 1, SAMPLES, device=plane.device)[None, None]
    aside = torch.tensor([-1.0, 0.0, 1.0], device=plane.device)[None, :, None]
    ratios = []
    for chunk in pairs.split(_CHUNK):
        first, second = chunk[:, 0], chunk[:, 1]
        dy, dx = (y[second] - y[first])[:, None, None], (x[second] - x[first])[:, None, None]
        length = torch.hypot(dy, dx).clamp(min=1e-6)
        away = aside / length + bulge * 4 * share * (1 - share)
        along_y = y[first][:, None, None] + share * dy + away * dx
        along_x = x[first][:, None, None] + share * dx - away * dy
        height = sample(plane, image[first][:, None, None], along_y, along_x).mean(1)
        height = height - ((level[first] + level[second]) / 2)[:, None]
        ends = torch.minimum(height[:, 0], height[:, -1]).clamp(min=1e-6)
        ratios.append((height.amin(1) / ends).clamp(0, 1))
    return torch.cat(ratios) if ratios else level[:0]
