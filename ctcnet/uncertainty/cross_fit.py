"""Atypicality from few typical crops, its limit from crops that had no part in the fit which they are scored by."""

from __future__ import annotations

import numpy as np

from ctcnet.errors import StatisticsError
from ctcnet.runtime.gaussian_distance import fit_covariance, gaussian_distance, signed_log
from ctcnet.uncertainty.atypicality import (
    EMBEDDING_DIRECTIONS,
    STATISTICS_DIRECTIONS,
    Atypicality,
    TypicalFeatures,
    least_contrast_of,
)
from ctcnet.uncertainty.crop_statistics import CONTRAST

POINTS_PER_DIRECTION = 4
"""Of the smallest fit: a leading direction takes some points to be found."""


def cross_fit_atypicality(features: TypicalFeatures, labels: np.ndarray, fold: np.ndarray, share: float) -> Atypicality:
    """Fit the score to all typical crops, and its limit to the distances that they have when their fold is left out.

    Crops of a group are alike: with folds over groups the limit holds for groups that the fit has not seen. The final
    fit knows more crops than each of the others, and new crops lie a little nearer to it than the limit supposes.

    Args:
        features: of N typical crops; the logits are not used.
        labels: (N,) integers, true classes.
        fold: (N,) integers, two or more folds.
        share: of typical crops with a score above 1 at most, above 0 and below 1.

    Raises:
        StatisticsError: fewer crops than the share needs, too few outside a fold, or features that are no numbers.
    """
    folds = np.unique(fold)
    least = len(fold) - int(max((fold == k).sum() for k in folds))
    values = signed_log(features.embedding), features.statistics[:, :CONTRAST]
    most = EMBEDDING_DIRECTIONS, STATISTICS_DIRECTIONS
    directions = [min(number, max(least // POINTS_PER_DIRECTION, 1)) for number in most]
    pairs = list(zip(values, directions, strict=True))
    distances = np.stack([_left_out_distances(part, labels, fold, d) for part, d in pairs])
    limits = np.array([upper_limit(column, share) for column in distances])
    limits = limits * upper_limit((distances / limits[:, None]).max(axis=0), share)
    fits = [
        fit_covariance(part, labels, d)._replace(limit=np.float32(limit))
        for (part, d), limit in zip(pairs, limits, strict=True)
    ]
    return Atypicality(*fits, least_contrast=least_contrast_of(features.statistics, 1 - share))


def _left_out_distances(values: np.ndarray, labels: np.ndarray, fold: np.ndarray, directions: int) -> np.ndarray:
    """Distance of each point (N, F) from the fit to the points of the other folds: float64 (N,)."""
    found = np.empty(len(values))
    for k in np.unique(fold):
        out = fold == k
        found[out] = gaussian_distance(fit_covariance(values[~out], labels[~out], directions), values[out])
    return found


def least_points(share: float) -> int:
    """Points that a limit needs which this share of others, exchangeable with them, exceeds at most."""
    return int(np.ceil(1 / share - 1 - 1e-9))


def upper_limit(values: np.ndarray, share: float) -> float:
    """Value of rank floor((n + 1) share) from above, which at most this share of exchangeable others exceeds.

    Raises:
        StatisticsError: fewer values than `least_points`.
    """
    rank = int(np.floor((len(values) + 1) * share + 1e-9))
    if rank < 1:
        raise StatisticsError(
            f"too few points for the share {share:g}", expected=f"{least_points(share)} or more", found=str(len(values))
        )
    return float(np.partition(values, len(values) - rank)[len(values) - rank])
