"""Contacts by chance: how many tumour cells would touch a leukocyte if all cells lay where they fell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from ctcnet.errors import StatisticsError

DENSITY_RADIUS_UM = 100.0
"""Radius within which the local density of leukocytes is taken."""

LATTICE = 24
"""Points along each axis of the lattice that tells how much of a circle lies in the image."""


class ChanceContacts(NamedTuple):
    """Contacts of tumour cells with leukocytes.

    Attributes:
        observed: number of tumour cells with at least one leukocyte within the contact distance.
        expected: number expected by chance at the local densities.
        per_event: (N,) float64, probability of a chance contact of each event; NaN for events that are no tumour cell.
        touching: (N,) bool, tumour cells with a leukocyte within the contact distance.
    """

    observed: int
    expected: float
    per_event: np.ndarray
    touching: np.ndarray


def contact_probability(density_per_mm2: float, distance_um: float) -> float:
    """Probability that a random point has at least one of randomly strewn cells within a distance.

    1 - exp(-density pi distance^2), the void probability of a Poisson point process. At 10 um it is 43 % at 1,800 and
    9 % at 300 cells per mm2.
    """
    return float(-np.expm1(-density_per_mm2 * 1e-6 * np.pi * distance_um**2))


def expected_chance_contacts(
    x_um: np.ndarray,
    y_um: np.ndarray,
    is_ctc: np.ndarray,
    is_leukocyte: np.ndarray,
    contact_distance_um: float | np.ndarray,
    *,
    density_radius_um: float = DENSITY_RADIUS_UM,
    bounds_um: tuple[float, float, float, float] | None = None,
) -> ChanceContacts:
    """Number of tumour cells that touch a leukocyte, and the number expected by chance.

    The leukocytes around each tumour cell, between the contact distance r and `density_radius_um` R, tell the local
    density, so that contacts themselves do not raise it. With k leukocytes in that ring of area A, the probability of a
    chance contact is 1 - (1 - pi r^2 / A)^k; if leukocytes are a Poisson process of even density within R, its mean is
    exactly 1 - exp(-density pi r^2) (see `contact_probability`), at low densities too. The formula takes centres as
    points: cells that cannot overlap are taken to come to rest beside each other, in contact.

    Args:
        x_um, y_um: (N,) positions in the cartridge, single cells.
        is_ctc, is_leukocyte: (N,) bool, not both true.
        contact_distance_um: distance of centres below which two cells touch, one number or (N,) for each tumour cell.
        bounds_um: left, top, right and bottom of the scanned area, outside of which no cell can be; by default the
            smallest rectangle around all events.

    Raises:
        StatisticsError: a contact distance is not above 0 and below half of `density_radius_um`.
    """
    points = np.stack([x_um, y_um], axis=1).astype(np.float64).reshape(-1, 2)
    is_ctc, is_leukocyte = np.asarray(is_ctc, bool), np.asarray(is_leukocyte, bool)
    distance = np.broadcast_to(np.asarray(contact_distance_um, np.float64), len(points))[is_ctc]
    if len(distance) and not (distance.min() > 0 and distance.max() < density_radius_um / 2):
        raise StatisticsError(
            "a contact distance cannot be compared with the local density",
            expected=f"above 0 and below {density_radius_um / 2:g} um",
            found=f"{distance.min():g} to {distance.max():g} um",
        )
    per_event, touching = np.full(len(points), np.nan), np.zeros(len(points), bool)
    leukocytes = points[is_leukocyte]
    if not is_ctc.any() or len(leukocytes) == 0:
        per_event[is_ctc] = 0
        return ChanceContacts(0, 0.0, per_event, touching)
    centres = points[is_ctc]
    bounds = (*points.min(0), *points.max(0)) if bounds_um is None else bounds_um
    tree = KDTree(leukocytes)
    near = np.asarray(tree.query_ball_point(centres, distance, return_length=True))
    around = np.asarray(tree.query_ball_point(centres, density_radius_um, return_length=True)) - near
    ring_um2 = _area_inside(centres, density_radius_um, bounds) - _area_inside(centres, distance, bounds)
    contact_um2 = np.minimum(np.pi * distance**2, ring_um2)
    share = np.divide(contact_um2, ring_um2, out=np.zeros_like(contact_um2), where=ring_um2 > 0)
    per_event[is_ctc] = 1 - (1 - share) ** around
    touching[is_ctc] = near > 0
    return ChanceContacts(int((near > 0).sum()), float(np.nansum(per_event)), per_event, touching)


def _area_inside(centres: np.ndarray, radius_um: float | np.ndarray, bounds: tuple[float, ...]) -> np.ndarray:
    """Area in um2 of the part of circles that lies within the bounds, from a lattice of points, (M,)."""
    steps = (np.arange(LATTICE) + 0.5) / LATTICE * 2 - 1
    x, y = (axis.ravel() for axis in np.meshgrid(steps, steps))
    disc = x**2 + y**2 <= 1
    radius = np.broadcast_to(np.asarray(radius_um, np.float64), len(centres))[:, None]
    across, down = centres[:, :1] + radius * x[disc], centres[:, 1:] + radius * y[disc]
    left, top, right, bottom = bounds
    inside = (across >= left) & (across <= right) & (down >= top) & (down <= bottom)
    return inside.mean(1) * np.pi * radius[:, 0] ** 2
