"""Atypicality of a crop: how far its statistics and its embedding lie from those of typical crops.

Two distances (`ctcnet.runtime.gaussian_distance`), one of the embedding after a signed logarithm, one of
`crop_statistics`, each of which is 1 at the same quantile of typical crops; and emptiness, which is 1 where the
contrast is at its least. The score is the largest of the three, and 1 is the stated quantile of the distances. Neither
distance can tell an empty crop: a network has no reason to look at noise, and faint crops are typical too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ctcnet.errors import ModelFileError, StatisticsError
from ctcnet.runtime.gaussian_distance import (
    GaussianFit,
    divides,
    fit_gaussian,
    gaussian_distance,
    signed_log,
    with_limit,
)
from ctcnet.uncertainty.crop_statistics import CONTRAST, crop_statistics

QUANTILE = 0.998
"""Share of typical crops with a score below 1, unless asked otherwise."""
EMBEDDING_DIRECTIONS = 32
STATISTICS_DIRECTIONS = 256
"""All of them but one, for panels of up to sixteen channels: a blank crop differs along those that vary least."""
_LEAST_DISTANT_SHARE = 0.25
"""Of the crops above 1, those that are there by their distance: a limit must not rest on the one farthest crop."""
LEAST_CONTRAST = 8.0
"""Contrast below which a crop is empty, unless typical ones come near it: the block of 256 that differs most from the
others by noise alone does so by three to six deviations, and a thousandth of the simulated events by less than 17."""


class _Distance(nn.Module):
    """`gaussian_distance` in torch; buffers are those of a `GaussianFit`, and what follows from them.

    Features are whitened, after which distances are Euclidean: divided by their spread and by the deviation of the
    rest, and along each leading direction brought from there to the deviation of that direction. The square of a
    distance is that of the point, less twice its product with the mean, and that of the mean.
    """

    centre: Tensor
    directions: Tensor
    limit: Tensor
    inverse: Tensor
    back: Tensor
    twice_means: Tensor
    mean_squares: Tensor

    def __init__(self, fit: GaussianFit) -> None:
        super().__init__()
        for name, value in fit._asdict().items():
            self.register_buffer(name, torch.from_numpy(np.array(value, dtype=np.float32)))
        exact = GaussianFit(*(np.asarray(value, dtype=np.float64) for value in fit))
        back = (exact.rest_deviation / exact.deviations - 1)[:, None] * exact.directions.T
        means = exact.means / exact.rest_deviation
        means = means + means @ exact.directions @ back
        derived = {
            "inverse": 1 / (exact.spread * exact.rest_deviation),
            "back": back,
            "twice_means": -2 * means.T,
            "mean_squares": (means * means).sum(axis=1),
        }
        for name, value in derived.items():
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N,) distances in units of the limit, of features (N, F)."""
        z = (features - self.centre) * self.inverse
        white = z + z @ self.directions @ self.back
        square = (white * white).sum(1) + torch.addmm(self.mean_squares, white, self.twice_means).amin(1)
        return torch.sqrt(square.abs()) / self.limit


class Atypicality(nn.Module):
    """Score of crops; above 1 is atypical.

    Args:
        embedding: of `signed_log` of the network's embeddings.
        statistics: of `crop_statistics` without the contrast.
        least_contrast: see `least_contrast_of`.
    """

    least_contrast: Tensor

    def __init__(self, embedding: GaussianFit, statistics: GaussianFit, least_contrast: float) -> None:
        super().__init__()
        self.embedding = _Distance(embedding)
        self.statistics = _Distance(statistics)
        self.register_buffer("least_contrast", torch.tensor(least_contrast, dtype=torch.float32))
        self.eval()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Score crops.

        Args:
            x: (N, C, H, W) float32, normalised.
            embedding: (N, D) float32, what the network made of them.

        Returns:
            float32 (N,), 0 or greater.
        """
        return self.score(embedding, crop_statistics(x))

    def score(self, embedding: Tensor, statistics: Tensor) -> Tensor:
        """As `forward`, from the `crop_statistics` (N, F) of the crops."""
        return torch.maximum(self._distance(embedding, statistics), self._emptiness(statistics))

    def _distance(self, embedding: Tensor, statistics: Tensor) -> Tensor:
        drawn_in = torch.sign(embedding) * torch.log1p(10.0 * torch.abs(embedding))
        return torch.maximum(self.embedding(drawn_in), self.statistics(statistics[:, :CONTRAST]))

    def _emptiness(self, statistics: Tensor) -> Tensor:
        return (1 + self.least_contrast) / (1 + statistics[:, CONTRAST])

    def with_quantile(self, typical: TypicalFeatures, quantile: float = QUANTILE) -> Atypicality:
        """A score of the same distances that is below 1 for this share of other typical crops than it was fitted to:
        the crops of the fit lie nearer to their own means. Crops that are empty count among those above 1, for three
        quarters of them at most: the others are those of the largest distance.

        Args:
            typical: N crops; their logits are not used.
            quantile: above 0 and below 1.

        Raises:
            StatisticsError: every crop is empty.
        """
        with torch.inference_mode():
            embedding, statistics = torch.from_numpy(typical.embedding), torch.from_numpy(typical.statistics)
            distance, empty = self._distance(embedding, statistics), self._emptiness(statistics) > 1
        full, share = distance[~empty].numpy(), len(distance) * (1 - quantile)
        if not len(full):
            raise StatisticsError("every typical crop is empty", found=f"{len(distance)} crops", fix="look at them")
        above = max(share - int(empty.sum()), _LEAST_DISTANT_SHARE * share)
        moved = copy.deepcopy(self)
        for part in (moved.embedding, moved.statistics):
            part.limit.mul_(float(np.quantile(full, 1 - above / len(full))))
        return moved


class TypicalFeatures(NamedTuple):
    """What atypicality and conformal sets are fitted to, of N typical crops.

    Attributes:
        embedding: float32 (N, D).
        statistics: float32 (N, F), see `crop_statistics`.
        logits: float32 (N, K), before temperature.
    """

    embedding: np.ndarray
    statistics: np.ndarray
    logits: np.ndarray


@torch.inference_mode()
def typical_features(network: nn.Module, batches: Iterable[Tensor]) -> TypicalFeatures:
    """Features of normalised crops.

    Args:
        network: in evaluation mode; crops (n, C, H, W) to (logits (n, K), embedding (n, D)).
        batches: normalised crops, float32, one or more batches on the network's device.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for x in batches:
        logits, embedding = network(x)
        parts.append((embedding, crop_statistics(x), logits))
    return TypicalFeatures(*(torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)))


def fit_atypicality(
    embedding: np.ndarray, statistics: np.ndarray, labels: np.ndarray, quantile: float = QUANTILE
) -> Atypicality:
    """Fit the score to typical crops of every class, such as crops that the network was not trained on.

    Args:
        embedding: (N, D) float; N several thousand.
        statistics: (N, F) float of the same crops.
        labels: (N,) integers, true classes.
        quantile: share of the typical crops with a score below 1.

    Raises:
        StatisticsError: too few crops, or features that are no numbers.
    """
    drawn_in, fitted = signed_log(embedding), statistics[:, :CONTRAST]
    embedding_fit = fit_gaussian(drawn_in, labels, EMBEDDING_DIRECTIONS, quantile)
    statistics_fit = fit_gaussian(fitted, labels, STATISTICS_DIRECTIONS, quantile)
    score = np.maximum(gaussian_distance(embedding_fit, drawn_in), gaussian_distance(statistics_fit, fitted))
    fits = (with_limit(fit, score, quantile) for fit in (embedding_fit, statistics_fit))
    return Atypicality(*fits, least_contrast=least_contrast_of(statistics, quantile))


def least_contrast_of(statistics: np.ndarray, quantile: float) -> float:
    """Contrast below which a crop is empty: `LEAST_CONTRAST`, or half of what this share of typical crops (N, F) are
    above, so that stains that show no more than this do not make every crop empty.
    """
    return min(LEAST_CONTRAST, 0.5 * float(np.quantile(statistics[:, CONTRAST], 1 - quantile)))


def atypicality_from_state(
    state: Mapping[str, Tensor], embedding_width: int, statistics_width: int, where: str | Path = "atypicality"
) -> Atypicality:
    """Rebuild a score from the `state_dict` of one.

    Args:
        state: names and tensors.
        embedding_width: D of the network.
        statistics_width: F, see `num_crop_statistics`; one more than the fit has, which leaves out the contrast.
        where: file, for the error.

    Raises:
        ModelFileError: tensors are missing, of another shape, not finite, or not above 0 where they divide.
    """
    try:
        fits = [
            GaussianFit(*(np.asarray(state[f"{part}.{name}"], dtype=np.float32) for name in GaussianFit._fields))
            for part in ("embedding", "statistics")
        ]
        fit_widths = [_checked_width(fit) for fit in fits]
        least_contrast = _checked_contrast(state["least_contrast"])
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise ModelFileError(
            f"has a malformed atypicality ({cause})", where=where, fix="fit or train it again"
        ) from cause
    if fit_widths != [embedding_width, statistics_width - 1]:
        raise ModelFileError(
            "has an atypicality of another network, panel or version of ctcnet",
            where=where,
            expected=f"{embedding_width} and {statistics_width - 1} features",
            found=" and ".join(map(str, fit_widths)),
            fix="use it with the version of ctcnet that it was made with, or train it again",
        )
    return Atypicality(*fits, least_contrast=least_contrast)


def _checked_contrast(value: Tensor) -> float:
    least = float(value)
    if not 0 <= least < np.inf:
        raise ValueError(f"a least contrast of {least:g}")
    return least


def _checked_width(fit: GaussianFit) -> int:
    width, d = fit.directions.shape
    shapes = ((width,), (width,), (fit.means.shape[0], width), (width, d), (d,), (), ())
    found = tuple(value.shape for value in fit)
    if found != shapes:
        raise ValueError(f"shapes {found}")
    if not all(np.isfinite(value).all() for value in fit):
        raise ValueError("a value is not finite")
    if not divides(fit):
        raise ValueError("a spread, deviation or limit is not above 0")
    return width
