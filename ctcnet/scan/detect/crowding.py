"""Frames in which nuclei lie too close together to be counted."""

from __future__ import annotations

import math

import numpy as np

MOST_COVER = 0.7
"""Areas of the cells found, added up, as a share of the frame's area: where cells lie at random and cover more than
this, more than half of them lie on others and are not told apart (measured on simulated discs)."""


def is_too_crowded(
    known: bool, crowded: bool, level: float, height: np.ndarray, diameter_um: np.ndarray, area_um2: float
) -> bool:
    """Whether there are probably more cells in an image than could be told apart.

    Either no background is seen between the nuclei, or the cells found overlap each other all over the image, or the
    stain between them is higher than they stand out of it.

    Args:
        known, crowded: of the nucleus channel, see `Background`.
        level: background of the nucleus channel in counts.
        height: (N,) of the cells' nuclei over the background in counts.
        diameter_um: (N,) of the cells.
        area_um2: area of the image in which cells are looked for.
    """
    if not known:
        return True
    covered_um2 = math.pi / 4 * float(np.square(diameter_um).sum())
    drowned = crowded and len(height) > 0 and float(np.median(height)) < level
    return drowned or covered_um2 > MOST_COVER * area_um2
