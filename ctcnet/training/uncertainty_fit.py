"""What a trained model does not know: conformal sets and atypicality, fitted to the validation groups and no others.

One validation part serves three ends. To keep them apart the groups are divided into folds: the probabilities and
distances of a fold come from a temperature and a covariance that were fitted to the other folds, and thresholds and the
limit of atypicality are ranks among such values of all folds (cross-conformal prediction, Vovk 2015). The model itself
gets the temperature and covariance of all folds. What cannot be undone is that the same groups chose the weights, where
the best and not the last ones are kept: the card says so, and coverage is measured where a model is evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from ctcnet.crops.group_division import best_division, group_counts
from ctcnet.errors import SettingError, SplitError, StatisticsError
from ctcnet.model_card import ConformalCard, ModelCard
from ctcnet.runtime.conformal import fit_conformal
from ctcnet.training.temperature import LEAST_CROPS, fit_temperature
from ctcnet.uncertainty import Atypicality, TypicalFeatures
from ctcnet.uncertainty.cross_fit import cross_fit_atypicality, least_points

FOLDS = 5
MOST_CROPS = 20_000
"""Crops that atypicality is fitted to; of more, this many are drawn."""
HIGHEST_THRESHOLD = 1 - ModelCard.guard_band
"""Where nearly all crops of a class have a probability of 1, rounding would decide at a higher threshold."""


@dataclass(frozen=True)
class UncertaintySettings:
    """What is fitted at the end of training, and how strict it is.

    Attributes:
        alpha: share of the crops of each class whose conformal set may lack it, above 0 and below 1: one number, or one
            by name for every class. A class needs 1 / alpha - 1 validation crops. None for no sets.
        atypical_share: share of typical crops that may be called atypical, above 0 and below 1; None for no
            atypicality.
    """

    alpha: float | dict[str, float] | None = 0.1
    atypical_share: float | None = 0.01

    def __post_init__(self) -> None:
        alphas = self.alpha if isinstance(self.alpha, dict) else {"alpha": self.alpha}
        for name, value in {**alphas, "atypical_share": self.atypical_share}.items():
            if value is not None and not 0 < value < 1:
                raise SettingError(
                    f"'{name}' is out of range",
                    where="model.uncertainty",
                    expected="above 0 and below 1, or null to switch it off",
                    found=str(value),
                )

    def alphas(self, classes: Sequence[str]) -> tuple[float, ...] | None:
        """Alpha of each class, in their order; None for no sets.

        Raises:
            SettingError: a class is missing, or there is no such class.
        """
        if self.alpha is None or not isinstance(self.alpha, dict):
            return None if self.alpha is None else (float(self.alpha),) * len(classes)
        if set(self.alpha) != set(classes):
            raise SettingError(
                "names other classes than the labels",
                where="model.uncertainty.alpha",
                expected=", ".join(classes),
                found=", ".join(self.alpha) or "none",
                fix="name every class once, or give one number for all",
            )
        return tuple(float(self.alpha[name]) for name in classes)


class Uncertainty(NamedTuple):
    """What was fitted, None for what was not, and sentences for the card.

    Attributes:
        conformal: conformal sets.
        atypicality: score of crops.
        notes: why something was not fitted, and what it rests on.
    """

    conformal: ConformalCard | None = None
    atypicality: Atypicality | None = None
    notes: tuple[str, ...] = ()


class ValidationAnswers(NamedTuple):
    """Answers of the finished weights to the N validation crops.

    Attributes:
        features: with the logits as the network gives them, without the bias to the stated prior.
        bias: float64 (K,), that bias.
        prior: float64 (K,), the stated prior.
        targets: float32 (N, K), rows add up to 1; a crop is of the class with the largest, whatever its weight.
        group: object (N,), patient or other unit.
        classes: names, in the order of the columns.
    """

    features: TypicalFeatures
    bias: np.ndarray
    prior: np.ndarray
    targets: np.ndarray
    group: np.ndarray
    classes: tuple[str, ...]


def fit_uncertainty(answers: ValidationAnswers, settings: UncertaintySettings) -> Uncertainty:
    """Fit conformal sets and atypicality, each where it is asked for and the validation crops are enough.

    Sets are for all classes or none: with a class that has no threshold of its own, a set says nothing of it.

    Args:
        answers: see there.
        settings: see there.
    """
    alphas, share = settings.alphas(answers.classes), settings.atypical_share
    if alphas is None and share is None:
        return Uncertainty()
    try:
        fold = group_folds(answers.group, answers.targets)
    except (SplitError, StatisticsError) as cause:
        return Uncertainty(notes=not_fitted(settings, cause.what))
    notes: list[str] = []
    conformal = atypicality = None
    if alphas is not None:
        try:
            conformal = _cross_conformal(answers, fold, alphas)
        except StatisticsError as cause:
            notes.append(f"No conformal sets: {_reason(cause)}.")
    if share is not None:
        try:
            atypicality = _atypicality(answers, fold, share)
            notes += _unknown_classes(answers)
        except StatisticsError as cause:
            notes.append(f"No atypicality: {_reason(cause)}.")
    notes += _basis(answers, conformal is not None, atypicality is not None)
    return Uncertainty(conformal, atypicality, tuple(notes))


def _basis(answers: ValidationAnswers, conformal: bool, atypicality: bool) -> tuple[str, ...]:
    """A sentence on the crops that something was fitted to; () where nothing was."""
    fitted = [name for name, there in (("conformal sets", conformal), ("atypicality", atypicality)) if there]
    if not fitted:
        return ()
    crops = f"{len(answers.group)} crops of {len(set(answers.group))} validation groups"
    also = "by which the temperature and, with selection.rule best, the weights were chosen too"
    return (f"What decides on unassigned ({' and '.join(fitted)}) was fitted on the {crops}, {also}.",)


def not_fitted(settings: UncertaintySettings, reason: str) -> tuple[str, ...]:
    """The sentence for the card where nothing that is asked for can be fitted; () where nothing is asked for."""
    asked = [
        name
        for name, value in (("conformal sets", settings.alpha), ("atypicality", settings.atypical_share))
        if value is not None
    ]
    return (f"No {' and no '.join(asked)}: {reason}.",) if asked else ()


def _reason(cause: StatisticsError) -> str:
    parts = [cause.what]
    parts += [f"found {cause.found}"] if cause.found is not None else []
    parts += [f"needed {cause.expected}"] if cause.expected is not None else []
    return "; ".join(parts)


def group_folds(group: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Fold of each crop, int64 (N,): at most `FOLDS`, whole groups, always the same, classes spread as they allow.

    Raises:
        SplitError: crops have no group.
        StatisticsError: there is one group.
    """
    row_groups, names, counts = group_counts(group, targets)
    if len(names) < 2:
        raise StatisticsError("all validation crops are of one group, two or more are needed")
    number = min(FOLDS, len(names))
    return best_division(counts, np.full(number, 1 / number), seed=0)[row_groups]


def _cross_conformal(answers: ValidationAnswers, fold: np.ndarray, alphas: tuple[float, ...]) -> ConformalCard:
    """Thresholds from probabilities at the temperatures of the other folds.

    Raises:
        StatisticsError: a class has too few crops for its alpha, or a temperature has.
    """
    truth = answers.targets.argmax(axis=1)
    counts = np.bincount(truth, minlength=len(answers.classes))
    short = [
        f"{count} of {name} (alpha {alpha:g} needs {least_points(alpha)})"
        for name, count, alpha in zip(answers.classes, counts, alphas, strict=True)
        if count < least_points(alpha)
    ]
    if short:
        raise StatisticsError(f"too few validation crops to state alpha, {', '.join(short)}")
    logits = answers.features.logits.astype(np.float64)
    probabilities = np.empty_like(logits)
    for k in np.unique(fold):
        out = fold == k
        if (~out).sum() < LEAST_CROPS:
            raise StatisticsError(
                "too few validation crops outside a fold for a temperature",
                expected=f"{LEAST_CROPS} or more",
                found=str((~out).sum()),
            )
        temperature = fit_temperature(logits[~out], answers.bias, answers.targets[~out], answers.prior).value
        probabilities[out] = softmax(logits[out] / temperature + answers.bias, axis=1)
    return fit_conformal(np.minimum(probabilities, HIGHEST_THRESHOLD), truth, alphas)


def _atypicality(answers: ValidationAnswers, fold: np.ndarray, share: float) -> Atypicality:
    """Score fitted to the crops, or to `MOST_CROPS` of them.

    Raises:
        StatisticsError: too few crops, or features that are no numbers.
    """
    count = len(fold)
    if count < least_points(share):
        raise StatisticsError(
            f"too few validation crops for the share {share:g}",
            expected=f"{least_points(share)} or more",
            found=str(count),
        )
    rows = np.arange(count)
    if count > MOST_CROPS:
        rows = np.sort(np.random.default_rng(0).choice(count, MOST_CROPS, replace=False))
    features = TypicalFeatures(*(column[rows] for column in answers.features))
    return cross_fit_atypicality(features, answers.targets.argmax(axis=1)[rows], fold[rows], share)


def _unknown_classes(answers: ValidationAnswers) -> tuple[str, ...]:
    """A sentence on the classes that lend atypicality no mean."""
    counts = np.bincount(answers.targets.argmax(axis=1), minlength=len(answers.classes))
    names = [name for name, count in zip(answers.classes, counts, strict=True) if count < 2]
    if not names:
        return ()
    sentence = f"Atypicality does not know {', '.join(names)}: validation has fewer than two crops of it"
    return (f"{sentence}, which may be called atypical.",)
