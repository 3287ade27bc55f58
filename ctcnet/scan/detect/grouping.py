"""Groups of touching cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ctcnet.scan.detect.suppression import near_pairs

LARGEST_GROUP = 6
"""Cells of the largest group that is taken for a cluster; a larger one is a crowd, whose cells stay alone."""

LARGEST_EXTENT_UM = 40.0
"""Largest extent of a group that is taken for a cluster."""


@dataclass(frozen=True)
class Groups:
    """Clusters among cells.

    Attributes:
        group: (N,) int64, cluster that each cell is a member of, else -1.
        crowded: (N,) bool, cells that touch others, in a group too large to be taken for a cluster.
        y_um, x_um: (G,) float64, mean of the members' centres.
        members: (G,) int64.
        diameter_um: (G,) float64, of the circle about the mean that holds the members.
    """

    group: np.ndarray
    crowded: np.ndarray
    y_um: np.ndarray
    x_um: np.ndarray
    members: np.ndarray
    diameter_um: np.ndarray


def group_cells(y_um: np.ndarray, x_um: np.ndarray, diameter_um: np.ndarray, gap_um: float) -> Groups:
    """Connected components of cells whose distance is less than the sum of their radii and `gap_um`.

    Args:
        y_um, x_um: (N,) centres.
        diameter_um: (N,) diameters of the cells.
        gap_um: largest gap between touching cells.

    Returns:
        Components of 2 to 6 cells no more than 40 um wide; the cells of larger ones are `crowded`.
    """
    y_um, x_um, radius = (np.asarray(values, np.float64) for values in (y_um, x_um, diameter_um / 2))
    number = len(y_um)
    pairs = near_pairs(y_um, x_um, 2 * radius + gap_um)
    first, second = pairs[:, 0], pairs[:, 1]
    distance = np.hypot(y_um[first] - y_um[second], x_um[first] - x_um[second])
    touching = distance < radius[first] + radius[second] + gap_um
    links = coo_array((touching[touching], (first[touching], second[touching])), shape=(number, number))
    component = connected_components(links, directed=False)[1] if number else np.empty(0, np.int64)
    members = np.bincount(component)
    safe = np.maximum(members, 1)
    mean_y = np.bincount(component, y_um, len(members)) / safe
    mean_x = np.bincount(component, x_um, len(members)) / safe
    reach = np.zeros(len(members))
    np.maximum.at(reach, component, np.hypot(y_um - mean_y[component], x_um - mean_x[component]) + radius)
    wanted = (members >= 2) & (members <= LARGEST_GROUP) & (2 * reach <= LARGEST_EXTENT_UM)
    crowded = ((members >= 2) & ~wanted)[component]
    group = np.where(wanted, np.cumsum(wanted) - 1, -1)[component]
    return Groups(group, crowded, mean_y[wanted], mean_x[wanted], members[wanted], 2 * reach[wanted])
