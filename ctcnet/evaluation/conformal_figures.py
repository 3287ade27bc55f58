"""Do conformal sets hold the true class as often as stated, and what do they and atypicality leave open."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctcnet.evaluation.rare_events import clopper_pearson
from ctcnet.model_card import ModelCard
from ctcnet.runtime import Predictions
from ctcnet.runtime.conformal import for_review, prediction_sets


def conformal_figures(predictions: Predictions, truth: np.ndarray, card: ModelCard) -> dict[str, Any]:
    """Figures of the model's conformal sets, for `metrics.json`.

    Args:
        predictions: answers for N crops, not restated to another prior.
        truth: (N,) integers, true classes.
        card: the model's.

    Returns:
        Empty where the model has no sets; else 'conformal' with alpha, for each class the crops, those whose set holds
        it and the exact 95 % interval of their share, the number of sets of each size 0 to K, and the fractions that
        are atypical (None where the model has no such score) and for review.
    """
    sets = prediction_sets(predictions.probabilities, card)
    if sets is None or card.conformal is None:
        return {}
    review = for_review(predictions.probabilities, predictions.unassigned, card)
    scored = np.isfinite(predictions.atypicality).all()
    return {
        "conformal": {
            "alpha": list(card.conformal.alpha),
            "coverage": {name: _coverage(sets[truth == k, k]) for k, name in enumerate(card.labels.classes)},
            "set_sizes": np.bincount(sets.sum(axis=1), minlength=sets.shape[1] + 1).tolist(),
            "atypical_fraction": float((predictions.atypicality > 1).mean()) if scored else None,
            "review_fraction": float(review.mean()),
            "interval_method": "exact (Clopper-Pearson), crops taken as independent",
        }
    }


def _coverage(held: np.ndarray) -> dict[str, Any]:
    count, hits = len(held), int(held.sum())
    if not count:
        return {"crops": 0, "held": 0, "coverage": None, "interval": None}
    return {"crops": count, "held": hits, "coverage": hits / count, "interval": list(clopper_pearson(hits, count))}
