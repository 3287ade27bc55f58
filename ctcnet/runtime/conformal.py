"""Class-conditional conformal sets: the classes a crop may be of, each left out of its alpha of its own crops at most.

Mondrian split conformal prediction (Vovk et al. 2005; Sadinle et al. 2019) with the score 1 - p(true class), which
holds for crops exchangeable with those of the calibration, at any prior: each class has its own threshold. An easy
class's threshold lies near 1, so that alpha is also about the share of its crops whose set is empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctcnet.errors import SettingError, StatisticsError
from ctcnet.labels import CONTAINS_CTC, LabelSchema
from ctcnet.model_card import ConformalCard, ModelCard

REVIEW_PROBABILITY = 0.05
"""An unassigned event goes to review where the probability that it contains a CTC reaches this."""


def fit_conformal(probabilities: np.ndarray, truth: np.ndarray, alpha: float | Sequence[float]) -> ConformalCard:
    """Thresholds from calibration crops on which nothing else was fitted.

    The score's quantile of rank ceil((n + 1)(1 - alpha)) of the n crops of a class is the probability of rank
    floor((n + 1) alpha) from below; where that is below 1 no finite threshold covers.

    Args:
        probabilities: (N, K) float, calibrated, as the model gives them (at the prior on its card).
        truth: (N,) integers, true classes.
        alpha: share of the crops of each class whose set may lack it, above 0 and below 1; one, or one per class.

    Raises:
        SettingError: alpha is out of range.
        StatisticsError: shapes do not fit, values are no probabilities, or a class has fewer than 1 / alpha - 1 crops.
    """
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1]:
        raise StatisticsError("probabilities and classes do not fit", found=f"{probabilities.shape}, {truth.shape}")
    alphas = np.broadcast_to(np.asarray(alpha, dtype=np.float64), probabilities.shape[1:])
    if not ((alphas > 0) & (alphas < 1)).all():
        raise SettingError("alpha is out of range", expected="above 0 and below 1", found=str(alpha))
    own = probabilities[np.arange(len(truth)), truth].astype(np.float32)
    if not ((own >= 0) & (own <= 1)).all():
        raise StatisticsError("probabilities are not between 0 and 1")
    classes = range(probabilities.shape[1])
    counts = tuple(int((truth == k).sum()) for k in classes)
    if any(_rank(count, a) < 1 for count, a in zip(counts, alphas, strict=True)):
        raise StatisticsError(
            f"too few calibration crops of a class for alpha {alpha}",
            expected=", ".join(str(int(np.ceil(1 / a - 1 - 1e-9))) for a in alphas) + " or more",
            found=", ".join(map(str, counts)),
        )
    thresholds = tuple(_threshold(own[truth == k], float(alphas[k])) for k in classes)
    return ConformalCard(tuple(alphas.tolist()), thresholds, counts)


def _rank(count: int, alpha: float) -> int:
    return int(np.floor((count + 1) * alpha + 1e-9))


def _threshold(own: np.ndarray, alpha: float) -> float:
    rank = _rank(len(own), alpha)
    return float(np.partition(own, rank - 1)[rank - 1])


def prediction_sets(probabilities: np.ndarray, card: ModelCard) -> np.ndarray | None:
    """Classes that each crop may be of: bool (N, K), true where p reaches the class's threshold.

    Args:
        probabilities: (N, K) float, as the model gives them, never restated to another prior.
        card: the model's; None is returned where it has no conformal sets.
    """
    if card.conformal is None:
        return None
    return probabilities.astype(np.float32) >= np.asarray(card.conformal.thresholds, dtype=np.float32)


def judge_unassigned(probabilities: np.ndarray, atypicality: np.ndarray, card: ModelCard) -> np.ndarray:
    """Crops without a class, bool (N,).

    With conformal sets: the most probable class is not in the set, or others are in it, or the crop is atypical.
    Classes that all contain a CTC do not count as others of each other: which partner a CTC has may stay open where the
    panel cannot tell, that it is one does not. Without sets: the largest probability is below the card's
    `unassigned_below`, or the crop is atypical. Either way a crop whose probabilities are no numbers is unassigned.

    Args:
        probabilities: (N, K) float, as the model gives them.
        atypicality: (N,) float.
        card: the model's.
    """
    sets = prediction_sets(probabilities, card)
    if sets is None:
        return ~(probabilities.max(axis=1, initial=0) >= card.unassigned_below) | is_atypical(atypicality, card)
    number, kept = sets.sum(axis=1), np.where(sets, probabilities, 0)
    all_ctc = number == sets[:, ctc_classes(card.labels)].sum(axis=1)
    clear = ((number == 1) | all_ctc) & (kept.max(axis=1, initial=0) >= probabilities.max(axis=1, initial=0))
    return ~clear | is_atypical(atypicality, card)


def is_atypical(atypicality: np.ndarray, card: ModelCard) -> np.ndarray:
    """Crops whose score is above 1, or no number though the model has a score: bool (N,).

    Args:
        atypicality: (N,) float.
        card: the model's.
    """
    atypical = atypicality > 1
    return atypical if card.atypicality_quantile is None else atypical | np.isnan(atypicality)


def ctc_classes(labels: LabelSchema) -> np.ndarray:
    """Which classes contain a CTC, bool (K,); none where the labels do not say."""
    if CONTAINS_CTC not in labels.rollups:
        return np.zeros(len(labels.classes), dtype=bool)
    return np.asarray(labels.rollup_mask(CONTAINS_CTC), dtype=bool)


def holds_ctc(sets: np.ndarray, labels: LabelSchema) -> np.ndarray:
    """Sets (N, K) with a class that contains a CTC, bool (N,); false throughout where the labels know none."""
    return np.asarray(sets[:, ctc_classes(labels)].any(axis=1))


def for_review(probabilities: np.ndarray, unassigned: np.ndarray, card: ModelCard) -> np.ndarray:
    """Unassigned crops that may contain a CTC and have to be looked at, bool (N,).

    Their set holds a class that contains a CTC, or P(contains a CTC) reaches `REVIEW_PROBABILITY`, as it may where the
    set is empty, or their probabilities are no numbers.

    Args:
        probabilities: (N, K) float, as the model gives them.
        unassigned: bool (N,).
        card: the model's.
    """
    labels = card.labels
    if CONTAINS_CTC not in labels.rollups:
        return np.zeros(len(unassigned), dtype=bool)
    probable = ~(probabilities[:, labels.rollup_mask(CONTAINS_CTC)].sum(axis=1) < REVIEW_PROBABILITY)
    sets = prediction_sets(probabilities, card)
    return unassigned & (probable if sets is None else probable | holds_ctc(sets, labels))


def set_names(sets: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Each set (N, K) as its class names joined by '|', '' where it is empty."""
    return ["|".join(name for name, inside in zip(classes, row, strict=True) if inside) for row in sets]
