"""Where cells lie: uniform at random, none nearer to another than real cells come."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from ctcnet.errors import SettingError

MOST_ROUNDS = 200


def place_circles(
    reach_um: np.ndarray, low_um: np.ndarray, high_um: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Centres (N, 2) float64 such that circles i and j lie at least `reach_um[i] + reach_um[j]` apart.

    Dart throwing in rounds: all circles without a place draw one; those too near to a circle placed before, or to one
    of their round with a lower index, draw again.

    Args:
        reach_um: (N,) half of the least distance between two such circles.
        low_um, high_um: (N, 2) rectangle that each centre is drawn from.
        rng: source of the positions.

    Raises:
        SettingError: the circles do not fit.
    """
    centre = np.empty((len(reach_um), 2))
    placed = np.zeros(len(reach_um), dtype=bool)
    waiting = np.arange(len(reach_um))
    if (low_um > high_um).any():
        raise _too_dense(len(reach_um))
    for _ in range(MOST_ROUNDS):
        if not len(waiting):
            return centre
        centre[waiting] = rng.uniform(low_um[waiting], high_um[waiting])
        order = np.concatenate((np.flatnonzero(placed), waiting))
        clash = _too_near(centre[order], reach_um[order], int(placed.sum()))
        placed[order[~clash]] = True
        waiting = waiting[clash[-len(waiting) :]]
    raise _too_dense(len(reach_um))


def _too_near(centre: np.ndarray, reach_um: np.ndarray, settled: int) -> np.ndarray:
    """Which circles lie too near to one before them; the first `settled` are never asked.

    Small circles are asked among themselves first, so that few large ones do not make every search wide.
    """
    clash = np.zeros(len(centre), dtype=bool)
    large = reach_um > 2 * np.median(reach_um)
    small_rows, large_rows = np.flatnonzero(~large), np.flatnonzero(large)
    pairs = small_rows[_pairs(centre[small_rows], reach_um[small_rows])]
    clash[pairs.max(axis=1)] = True
    tree = KDTree(centre)
    for row in large_rows:
        near = np.array(tree.query_ball_point(centre[row], reach_um[row] + reach_um.max()), dtype=np.int64)
        distance = np.hypot(*(centre[near] - centre[row]).T)
        near = near[(distance < reach_um[near] + reach_um[row]) & (near != row)]
        clash[np.maximum(near, row)] = True
    clash[:settled] = False
    return clash


def _pairs(centre: np.ndarray, reach_um: np.ndarray) -> np.ndarray:
    """Pairs (K, 2) of circles nearer than the sum of their reaches."""
    if len(centre) < 2:
        return np.empty((0, 2), dtype=np.int64)
    pairs = KDTree(centre).query_pairs(2 * reach_um.max(), output_type="ndarray")
    distance = np.hypot(*(centre[pairs[:, 0]] - centre[pairs[:, 1]]).T)
    return pairs[distance < reach_um[pairs].sum(axis=1)]


def _too_dense(count: int) -> SettingError:
    return SettingError(
        "the cells do not fit into the frames",
        where="nuclei_per_frame",
        found=f"{count} cells, clusters and debris in all",
        fix="ask for fewer of them, for larger frames or for more frames",
    )
