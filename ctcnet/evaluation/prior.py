"""Probabilities at another prevalence than the one a model was trained at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctcnet.errors import SettingError, StatisticsError
from ctcnet.labels import LabelSchema

Prior = Sequence[float] | np.ndarray
"""Class frequencies, (K,), summing to 1."""


def restate_prior(probabilities: np.ndarray, old_prior: Prior, new_prior: Prior) -> np.ndarray:
    """Multiply by new / old prior and normalise (Bayes; Saerens 2002).

    Args:
        probabilities: (N, K), at `old_prior`.
        old_prior, new_prior: (K,), each summing to 1.

    Returns:
        (N, K) float64, rows sum to 1.

    Raises:
        StatisticsError: the old prior of a class is 0, so that nothing can be said about it at another.
    """
    old, new = np.asarray(old_prior, dtype=np.float64), np.asarray(new_prior, dtype=np.float64)
    if ((old <= 0) & (new > 0)).any():
        raise StatisticsError(
            "a class had the prior 0 in training and cannot be restated", fix="train with crops of every class"
        )
    ratio = np.divide(new, old, out=np.zeros_like(new), where=old > 0)
    weighted = probabilities.astype(np.float64) * ratio
    total = weighted.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        raise StatisticsError("an event has probability 0 for every class with a prior", fix="give every class a prior")
    return weighted / total


def parse_prior(text: str, schema: LabelSchema, training_prior: Prior) -> np.ndarray:
    """Prior from `class=value,...` for every class, or `ROLLUP=value`, which keeps proportions inside and outside.

    Classes with a training prior of 0, which the model never calls, are not named.

    Returns:
        (K,) float64, above 0 where the training prior is, summing to 1.

    Raises:
        SettingError: unknown or missing classes, values out of range, or a sum other than 1.
    """
    told = [name for name, share in zip(schema.classes, training_prior, strict=True) if share > 0]
    try:
        pairs = [part.split("=") for part in text.split(",")]
        values = {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise _prior_error("cannot be read", text, schema, told) from None
    if len(values) != len(pairs) or not all(0 < value < 1 for value in values.values()):
        raise _prior_error("has a value outside 0 to 1, or names a class twice", text, schema, told)
    if len(values) == 1 and (name := next(iter(values))) in schema.rollups:
        inside, old = schema.rollup_mask(name), np.asarray(training_prior, dtype=np.float64)
        share = old[inside].sum()
        if not 0 < share < 1:
            raise _prior_error(
                f"cannot be shared out: '{name}' had the prior {share:g} in training", text, schema, told
            )
        return np.where(inside, old * values[name] / share, old * (1 - values[name]) / (1 - share))
    if set(values) != set(told):
        raise _prior_error("does not name once every class that the model tells", text, schema, told)
    prior = np.array([values.get(name, 0.0) for name in schema.classes])
    if abs(prior.sum() - 1) > 1e-6:
        raise _prior_error(f"adds up to {prior.sum():.6g}, not 1", text, schema, told)
    return prior / prior.sum()


def _prior_error(what: str, text: str, schema: LabelSchema, told: Sequence[str]) -> SettingError:
    forms = [",".join(f"{name}=VALUE" for name in told), *(f"{rollup}=VALUE" for rollup in schema.rollups)]
    return SettingError(f"prior {what}", where="--prior", expected=" or ".join(forms), found=text)
