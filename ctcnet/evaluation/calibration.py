"""Do probabilities mean what they say: top-label error, and the roll-up's log-odds against what was observed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctcnet.evaluation.rare_events import clopper_pearson, garwood

ECE_BINS = 15
LOG_ODDS_EDGES: tuple[float, ...] = tuple(float(edge) for edge in range(-14, 15, 2))
"""Edges of the log-odds bins (natural logarithm); the outermost bins are open."""


def ece_tables(probabilities: np.ndarray, correct: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """Per crop its term of the calibration error: confidence minus correctness, in the column of its bin, (N, bins)."""
    confidence = probabilities.max(axis=1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    table = np.zeros((len(confidence), bins))
    table[np.arange(len(confidence)), place] = confidence - correct
    return table


def expected_calibration_error(probabilities: np.ndarray, correct: np.ndarray, bins: int = ECE_BINS) -> float:
    """Top-label expected calibration error over equal-width bins of confidence (Naeini 2015; Guo 2017)."""
    return float(np.abs(ece_tables(probabilities, correct, bins).sum(axis=0)).sum() / len(correct))


def log_odds_calibration(log_odds: np.ndarray, positive: np.ndarray) -> dict[str, Any]:
    """Predicted against observed log-odds of a roll-up, in bins, and expected against observed count.

    Args:
        log_odds: (N,) predicted log-odds (natural logarithm).
        positive: (N,) bool.

    Returns:
        'bins': low and high edge (None = open), count, positives, mean predicted and observed log-odds with the exact
        95 % interval (None = without bound); 'expected_positives' and 'observed_positives' with its Poisson interval.
    """
    place = np.digitize(log_odds, LOG_ODDS_EDGES)
    edges = [None, *LOG_ODDS_EDGES, None]
    bins = []
    for index in np.unique(place):
        inside = place == index
        count, hits = int(inside.sum()), int(positive[inside].sum())
        low, high = clopper_pearson(hits, count)
        bins.append(
            {
                "low": edges[index],
                "high": edges[index + 1],
                "count": count,
                "positives": hits,
                "mean_predicted_log_odds": float(log_odds[inside].mean()),
                "observed_log_odds": _log_odds(hits / count),
                "observed_interval": [_log_odds(low), _log_odds(high)],
            }
        )
    observed = int(positive.sum())
    return {
        "bins": bins,
        "expected_positives": float((1 / (1 + np.exp(-log_odds))).sum()),
        "observed_positives": observed,
        "observed_positives_interval": list(garwood(observed)),
    }


def _log_odds(proportion: float) -> float | None:
    return float(np.log(proportion) - np.log1p(-proportion)) if 0 < proportion < 1 else None
