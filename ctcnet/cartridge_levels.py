"""The rule by which a cartridge's background and scale follow from its own leukocytes, never from a maximum.

Simulated crops, which networks are trained with, and scanned cartridges are measured by the same rule, so that a
network meets the same numbers in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CELL_RADIUS_UM = 2.5
"""The level of a cell is the mean within this radius of its centre."""
NOISE_FACTOR = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution."""
LEVEL_ROLES = ("nucleus", "leukocyte", "transmitted", "scatter")
"""Roles whose scale is the leukocytes' median; for the others one noise deviation is added."""
LEAST_SCALE_COUNTS = 1.0
"""No scale and no noise deviation added to one is below a count."""


def scale_from_leukocytes(level: np.ndarray, noise: np.ndarray, roles: Sequence[str]) -> np.ndarray:
    """Scale of each channel in counts.

    Args:
        level: (..., C) median over leukocytes of the level over background, in counts; its magnitude counts, for
            light that cells absorb.
        noise: (..., C) standard deviation of the background's pixels in counts.
        roles: of the C channels.

    Returns:
        (..., C), greater than 0: the level for `LEVEL_ROLES` (the noise as floor), level plus noise for the others.
    """
    magnitude = np.abs(level)
    floor = np.maximum(noise, LEAST_SCALE_COUNTS)
    plain = np.array([role in LEVEL_ROLES for role in roles])
    return np.where(plain, np.maximum(magnitude, floor), magnitude + floor)
