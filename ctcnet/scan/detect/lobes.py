"""One nucleus for each group of peaks: which peaks are lobes or texture of the same nucleus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctcnet.scan.detect.scale_space import Peaks
from ctcnet.scan.detect.suppression import near_pairs, strongest, valley_ratio

SCALE_PREFERENCE = 0.12  # strength = height * diameter ** this: of nearly equal responses the larger nucleus stands
REACH, LEAST_REACH_UM = 0.75, 8.0  # peaks nearer than this share of the diameter, or than this, are compared
BULGES = (0.0, -0.5, -0.25, 0.25, 0.5)  # ways between two lobes; the bent ones follow a horseshoe
VALLEY_BY_DISTANCE = ((3.5, 0.4), (7.0, 0.9))  # um apart, ratio above which two peaks are one nucleus
USUAL_UM = 7.0
LARGE_SHARE = 0.8
TRUE_VALLEY = 0.97


@dataclass(frozen=True)
class Nuclei:
    """Peaks that stand and the lobes that belong to them.

    Attributes:
        peak: (N,) int64 rows of the peaks that stand for a nucleus each.
        lobe: (L,) int64 rows of further peaks that are lobes of one of them.
        owner: (L,) int64, position in `peak` of the nucleus that each lobe belongs to.
    """

    peak: np.ndarray
    lobe: np.ndarray
    owner: np.ndarray


def group_lobes(plane: Tensor, peaks: Peaks, level: Tensor, min_distance_um: float, pixel_um: float) -> Nuclei:
    """Decide which peaks are nuclei of their own.

    Going from the strongest peak down, a peak belongs to a stronger one where it is nearer than the least distance, or
    where on some way between the two, straight or bent, there is no valley deep enough for their distance.

    Args:
        plane: (B, h, w) float32, nucleus channel of the working image.
        peaks: from all octaves.
        level: (N,) background at the peaks in counts.
        min_distance_um: peaks nearer than this are one.
        pixel_um: size of a working pixel.
    """
    y, x, diameter, height = (
        values.cpu().numpy().astype(np.float64) for values in (peaks.y, peaks.x, peaks.diameter_um, peaks.height)
    )
    y, x = y * pixel_um, x * pixel_um + peaks.image.cpu().numpy() * 1e5
    strength = height * diameter**SCALE_PREFERENCE
    kept = np.flatnonzero(strongest(strength, near_pairs(y, x, np.full(len(y), min_distance_um))))
    pairs = kept[near_pairs(y[kept], x[kept], np.maximum(REACH * diameter[kept], LEAST_REACH_UM))]
    larger = np.where(strength[pairs[:, 0]] >= strength[pairs[:, 1]], diameter[pairs[:, 0]], diameter[pairs[:, 1]])
    distance = np.hypot(y[pairs[:, 0]] - y[pairs[:, 1]], x[pairs[:, 0]] - x[pairs[:, 1]])
    limit = deepest_lobe_valley(distance, larger)
    straight = best = _ratios(plane, peaks, level, pairs, 0.0)
    for bulge in BULGES[1:]:
        parted = np.flatnonzero(best <= limit)
        best = best.copy()
        best[parted] = np.maximum(best[parted], _ratios(plane, peaks, level, pairs[parted], bulge))
    one = best > limit
    stands = strongest(strength[kept], np.searchsorted(kept, pairs[one]))
    return _with_owners(kept[stands], pairs[one], distance[one], straight[one], diameter)


def deepest_lobe_valley(distance_um: np.ndarray, diameter_um: np.ndarray) -> np.ndarray:
    """Valley ratio above which two peaks are one nucleus.

    The farther apart, the shallower a valley must be; in a nucleus larger than usual, distances count for less.

    Args:
        distance_um: distance of the two peaks.
        diameter_um: diameter of the scale of the stronger one.
    """
    scaled = distance_um * USUAL_UM / np.maximum(USUAL_UM, LARGE_SHARE * diameter_um)
    apart_um, ratio = zip(*VALLEY_BY_DISTANCE, strict=True)
    return np.interp(scaled, apart_um, ratio)


def _ratios(plane: Tensor, peaks: Peaks, level: Tensor, pairs: np.ndarray, bulge: float) -> np.ndarray:
    rows = torch.as_tensor(pairs, device=plane.device)
    return valley_ratio(plane, peaks.image, peaks.y, peaks.x, level, rows, bulge).cpu().numpy()


def _with_owners(
    peak: np.ndarray, pairs: np.ndarray, distance: np.ndarray, straight: np.ndarray, diameter: np.ndarray
) -> Nuclei:
    """Fallen peaks that are tops of their own become lobes of the nearest nucleus that they were compared with.

    A peak of a scale so large that its disc reaches the nucleus' peak is no lobe.
    """
    standing = np.isin(pairs, peak)
    lobes = (standing.sum(1) == 1) & (straight < TRUE_VALLEY)
    pairs, standing, distance = pairs[lobes], standing[lobes], distance[lobes]
    owner, lobe = pairs[standing], pairs[~standing]
    order = np.lexsort((owner, distance, lobe))
    order = order[distance[order] > diameter[lobe[order]] / 2]
    lobe, first = np.unique(lobe[order], return_index=True)
    return Nuclei(peak, lobe, np.searchsorted(peak, owner[order][first]))
