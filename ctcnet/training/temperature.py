"""One temperature for the logits, fitted on validation data (Guo et al. 2017); near a usual one where these are few."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

LEAST_CROPS = 30
RANGE = (0.1, 10.0)
TYPICAL, SPREAD = 0.8, 0.3
"""A temperature before any crop is seen: median, and standard deviation of its log, of a log-normal prior.

Networks of these recipes, which learn from smoothed labels, had 0.5 to 0.7 on Jurkat cells, 0.8 on 20,000 simulated
crops and 0.9 to 1.1 fine-tuned on 300, each by 400 crops or more; by 45 validation crops these last had 0.4 to 1.2.
"""


class Temperature(NamedTuple):
    """Temperature, and a sentence for the card where none could be fitted."""

    value: float
    note: str | None


UNFINISHED = Temperature(
    1.0, "Training was not finished: these are the best weights so far, and their probabilities are not calibrated."
)
"""Of weights that are kept while training goes on."""


def prior_weights(targets: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Weight of each crop that makes the classes as frequent as `prior` says: float64 (N,), mean 1.

    Args:
        targets: (N, K), rows add up to 1.
        prior: (K,), summing to 1.
    """
    frequency = targets.mean(axis=0)
    ratio = np.divide(prior, frequency, out=np.zeros_like(prior, dtype=np.float64), where=frequency > 0)
    weight = targets @ ratio
    return weight / weight.mean()


def log_loss(
    logits: np.ndarray, bias: np.ndarray, targets: np.ndarray, temperature: float, weight: np.ndarray
) -> float:
    """Weighted mean of the cross entropy in nats of softmax(logits / temperature + bias)."""
    return float(-(weight * (targets * log_softmax(logits / temperature + bias, axis=1)).sum(axis=1)).mean())


def fit_temperature(logits: np.ndarray, bias: np.ndarray, targets: np.ndarray, prior: np.ndarray) -> Temperature:
    """Most probable temperature, by the log loss at a stated prior of the classes and what is usual.

    Without that a few dozen crops of which hardly one is wrong make probabilities of nearly 0 and 1. Crops of unequal
    weight count as the number of equal ones that say as much (Kish 1965). The bias to the stated prior is no evidence
    and is not divided: probabilities are softmax(logits / temperature + bias), so that a rare class stays as rare as
    stated whatever the temperature.

    Args:
        logits: (N, K) float, what the network says without the bias.
        bias: (K,), log of the prior stated over the prior that `logits` refer to.
        targets: (N, K), rows add up to 1; soft targets count in proportion.
        prior: (K,), class frequencies that softmax(logits + bias) refers to.

    Returns:
        A temperature within `RANGE`; 1 with a note where there are fewer than `LEAST_CROPS` crops.
    """
    if len(logits) < LEAST_CROPS:
        return Temperature(
            1.0, f"Probabilities are not calibrated: {len(logits)} validation crops, {LEAST_CROPS} are needed."
        )
    logits = logits.astype(np.float64)
    weight = prior_weights(targets, prior)
    crops = weight.sum() ** 2 / (weight**2).sum()

    def loss(log_temperature: float) -> float:
        seen = log_loss(logits, bias, targets, float(np.exp(log_temperature)), weight)
        return crops * seen + ((log_temperature - np.log(TYPICAL)) / SPREAD) ** 2 / 2

    found = minimize_scalar(loss, bounds=np.log(RANGE), method="bounded")
    return Temperature(float(np.exp(found.x)), None)
