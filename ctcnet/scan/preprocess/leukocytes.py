"""Which nucleated cells of a cartridge are its leukocytes, told from the levels of their channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctcnet.cartridge_levels import NOISE_FACTOR

GATE_SNR = 4.0
"""A cell has CD45 where its level is this many deviations of a cell-sized patch of background above zero."""
FAINT_SHARE = 6.0
"""Cells below a sixth of the typical CD45 are not taken (2.7 % of nucleated cells on a real slide, field notes)."""
SPLIT_QUALITY = 0.8
"""Least share of the log levels' variance that lies between two groups for them to be two: a normal distribution cut
at its best place has 2 / pi = 0.64, a uniform one 0.75."""
SPLIT_FACTOR = 4.0
"""Least ratio of the medians of two groups."""
LEAST_SPLIT_SHARE = 0.05
OUTLIER_SNR, OUTLIER_FACTOR = 4.0, 3.0
"""A cell is no leukocyte where an epithelial or mesenchymal channel is this far above the others' level."""


def select_leukocytes(levels: np.ndarray, level_noise: np.ndarray, roles: Sequence[str]) -> np.ndarray:
    """Tell leukocytes from tumour cells, dead cells and debris.

    With a leukocyte channel: cells whose CD45 stands out of the background, without the lower of two groups where the
    levels fall into two, and without faint ones. Then cells far above the others in an epithelial or mesenchymal
    channel are left out. Without a leukocyte channel every nucleated cell that is not left out so is taken, and where
    there is no leukocyte tumour cells whose light spills into its channel may be; `levels_notes` says both.

    Args:
        levels: (N, C) counts over background of every nucleated cell.
        level_noise: (C,) standard deviation of such a level where there is no cell.
        roles: of the channels.

    Returns:
        bool (N,).
    """
    kept = np.ones(len(levels), dtype=bool)
    for channel in (c for c, role in enumerate(roles) if role == "leukocyte"):
        kept &= _stained(levels[:, channel], float(level_noise[channel]))
    for channel in (c for c, role in enumerate(roles) if role in ("epithelial", "mesenchymal")):
        kept &= ~_outlying(levels[:, channel], kept, float(level_noise[channel]))
    return kept


def _stained(level: np.ndarray, noise: float) -> np.ndarray:
    stained = level > GATE_SNR * noise
    if stained.sum() < 2:
        return stained
    split = two_group_split(np.log(level[stained]))
    if split is not None:
        stained &= level > np.exp(split)
    return stained & (level >= np.median(level[stained]) / FAINT_SHARE)


def two_group_split(log_levels: np.ndarray) -> float | None:
    """Otsu's threshold between two groups of logarithmic levels; None where they are better described as one group.

    Args:
        log_levels: (N,) natural logarithms, N of at least 2.
    """
    ordered = np.sort(log_levels.astype(np.float64))
    count = np.arange(1, len(ordered))
    total, spread = ordered.sum(), ordered.var() * len(ordered)
    if spread <= 0:
        return None
    lower = np.cumsum(ordered)[:-1]
    between = lower**2 / count + (total - lower) ** 2 / (len(ordered) - count) - total**2 / len(ordered)
    cut = int(between.argmax()) + 1
    share = min(cut, len(ordered) - cut) / len(ordered)
    apart = np.median(ordered[cut:]) - np.median(ordered[:cut])
    if between[cut - 1] < SPLIT_QUALITY * spread or apart < np.log(SPLIT_FACTOR) or share < LEAST_SPLIT_SHARE:
        return None
    return float((ordered[cut - 1] + ordered[cut]) / 2)


def _outlying(level: np.ndarray, kept: np.ndarray, noise: float) -> np.ndarray:
    if not kept.any():
        return np.zeros(len(level), dtype=bool)
    typical = float(np.median(level[kept]))
    deviation = max(NOISE_FACTOR * float(np.median(np.abs(level[kept] - typical))), noise)
    return (level > typical + OUTLIER_SNR * deviation) & (level > OUTLIER_FACTOR * max(typical, noise))
