"""How far points lie from what is typical: least Mahalanobis distance over class means with one shared covariance.

Lee et al. 2018 (A simple unified framework for detecting out-of-distribution samples). The covariance is that of
probabilistic principal components (Tipping and Bishop 1999): the leading directions with their own variances, and one
variance for all the others, which shrinks it and keeps what lies outside the leading directions in sight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ctcnet.errors import StatisticsError

_LEAST_SPREAD = 1e-3  # of the median spread: a feature that hardly varies among typical points
_LEAST_VARIANCE = 1e-3  # of a standardised feature
_CHUNK = 4096


class GaussianFit(NamedTuple):
    """Class means and a shared covariance of F features, in d leading directions and one variance for the rest.

    Attributes:
        centre: float32 (F,), mean of the features.
        spread: float32 (F,), standard deviation and a little; features are standardised with both.
        means: float32 (M, F), class means, standardised.
        directions: float32 (F, d), orthonormal.
        deviations: float32 (d,), standard deviations along the directions.
        rest_deviation: float32 (), standard deviation along every other direction.
        limit: float32 (), the distance that stands for 1.
    """

    centre: np.ndarray
    spread: np.ndarray
    means: np.ndarray
    directions: np.ndarray
    deviations: np.ndarray
    rest_deviation: np.ndarray
    limit: np.ndarray


def fit_gaussian(features: np.ndarray, labels: np.ndarray, directions: int, quantile: float) -> GaussianFit:
    """Fit means and covariance to typical points; 1 is the stated quantile of their distances.

    Args:
        features: (N, F) float, finite.
        labels: (N,) integers; classes of one point lend no mean.
        directions: number of leading directions d, cut to what F and N allow.
        quantile: share of the typical points below 1, above 0 and below 1.

    Raises:
        StatisticsError: fewer points than the quantile needs, or features that are no numbers.
    """
    needed = int(np.ceil(1 / (1 - quantile)))
    if len(features) < needed:
        raise StatisticsError(
            f"too few points for the quantile {quantile:g}", expected=f"{needed} or more", found=str(len(features))
        )
    fit = fit_covariance(features, labels, directions)
    return with_limit(fit, gaussian_distance(fit, features), quantile)


def fit_covariance(
    features: np.ndarray, labels: np.ndarray, directions: int, least_spread: float = _LEAST_SPREAD
) -> GaussianFit:
    """Means and covariance as in `fit_gaussian`, without a limit: 1 is the Mahalanobis distance 1.

    Args:
        features, labels, directions: as in `fit_gaussian`.
        least_spread: added to the spread of each feature, in units of the median over features.

    Raises:
        StatisticsError: fewer than three points, no class of two, or features that are no numbers.
    """
    count, width = features.shape
    if count < 3:
        raise StatisticsError("too few points for a covariance", expected="3 or more", found=str(count))
    if not np.isfinite(features).all():
        raise StatisticsError("features of typical points are not finite", fix="see to the model and its input")
    centre, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    spread = spread + least_spread * np.median(spread) + 1e-6
    z = (features - centre) / spread
    names = [name for name in np.unique(labels) if (labels == name).sum() > 1]
    if not names:
        raise StatisticsError("no class has two points to lend a mean", found=f"{count} points, each of its own class")
    means = np.stack([z[labels == name].mean(axis=0) for name in names])
    kept = np.isin(labels, names)
    residual = z[kept] - means[np.searchsorted(names, labels[kept])]
    variances, vectors = np.linalg.eigh(residual.T @ residual / max(len(residual) - len(names), 1))
    variances, vectors = np.maximum(variances[::-1], _LEAST_VARIANCE), vectors[:, ::-1]
    d = max(1, min(directions, width - 1, count - len(names) - 1))
    rest = variances[d:].mean() if d < width else 1.0
    parts = (centre, spread, means, vectors[:, :d], np.sqrt(variances[:d]), np.sqrt(rest), 1.0)
    return GaussianFit(*(np.asarray(part, dtype=np.float32) for part in parts))


def with_limit(fit: GaussianFit, distances: np.ndarray, quantile: float) -> GaussianFit:
    """The same with 1 at the quantile of `distances` (N,), which are in the units of `fit`."""
    return fit._replace(limit=np.asarray(fit.limit * np.quantile(distances, quantile), dtype=np.float32))


def divides(fit: GaussianFit) -> bool:
    """Whether all that distances are divided by is above 0."""
    return all((value > 0).all() for value in (fit.spread, fit.deviations, fit.rest_deviation, fit.limit))


def gaussian_distance(fit: GaussianFit, features: np.ndarray) -> np.ndarray:
    """Least Mahalanobis distance over the class means, in units of the limit.

    Args:
        fit: see `fit_gaussian`.
        features: (N, F) float.

    Returns:
        float32 (N,).
    """
    parts = [_distance(fit, features[start : start + _CHUNK]) for start in range(0, len(features), _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _distance(fit: GaussianFit, features: np.ndarray) -> np.ndarray:
    directions = fit.directions.astype(np.float64)
    z = (features.astype(np.float64) - fit.centre) / fit.spread
    squares = np.empty((len(z), len(fit.means)))
    for column, mean in enumerate(fit.means):
        difference = z - mean
        along = difference @ directions
        outside = difference - along @ directions.T
        squares[:, column] = ((along / fit.deviations) ** 2).sum(axis=1)
        squares[:, column] += (outside**2).sum(axis=1) / fit.rest_deviation.astype(np.float64) ** 2
    return (np.sqrt(squares.min(axis=1)) / fit.limit).astype(np.float32)


def signed_log(values: np.ndarray) -> np.ndarray:
    """sign(v) log(1 + 10 |v|), of the shape of `values`: an embedding's far-away values drawn in."""
    return np.sign(values) * np.log1p(10.0 * np.abs(values))
