"""Statistics of rare events: exact intervals, and recall at a stated rate of false calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta, chi2

from ctcnet.errors import StatisticsError

FALSE_CALLS_PER_MILLION: tuple[int, ...] = (1, 10, 100)
ZERO_EVENTS_BOUND = 3.0
"""None seen in n bounds a rate by 3.0 / n at 95 % (one-sided; -ln 0.05 = 2.996)."""


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a proportion (Clopper and Pearson 1934).

    Raises:
        StatisticsError: counts that cannot be.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise StatisticsError("counts of a proportion cannot be", found=f"{successes} of {trials}")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def garwood(count: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a Poisson mean from one count (Garwood 1936).

    Raises:
        StatisticsError: a negative count.
    """
    if count < 0:
        raise StatisticsError("a count is negative", found=str(count))
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(chi2.ppf(tail, 2 * count) / 2)
    return low, float(chi2.ppf(1 - tail, 2 * count + 2) / 2)


def recall_at_false_calls(
    score: np.ndarray, positive: np.ndarray, per_million: Sequence[int] = FALSE_CALLS_PER_MILLION
) -> dict[str, dict[str, Any]]:
    """Recall at F false calls per million negatives, or the reason why these negatives cannot say.

    The threshold is the score above which at most F per million of the negatives of this very set lie. Being an order
    statistic of the negatives, the true rate above it has the Clopper-Pearson upper bound given, and the bound of the
    recall holds at that threshold; both take events as independent. It is no threshold for use elsewhere. 'at_bound' is
    the stricter statement: the recall at the threshold whose upper bound (one-sided 95 %) is still at most F.

    Args:
        score: (N,) float, greater is more likely positive.
        positive: (N,) bool.

    Returns:
        F as text -> figures; entries refused have 'recall': None and 'reason'.
    """
    negatives = np.sort(score[~positive])[::-1]
    positives = score[positive]
    return {str(rate): _recall_at(negatives, positives, rate) for rate in per_million}


def _recall_at(negatives: np.ndarray, positives: np.ndarray, per_million: int) -> dict[str, Any]:
    count = len(negatives)
    base: dict[str, Any] = {"false_calls_per_million": per_million, "negatives": count, "positives": len(positives)}
    needed = int(np.ceil(ZERO_EVENTS_BOUND * 1e6 / per_million))
    if count < needed:
        least = f"{ZERO_EVENTS_BOUND * 1e6 / count:,.0f} per million" if count else "nothing"
        reason = (
            f"{count:,} negatives are too few: {needed:,} are needed to claim {per_million} per million with no false "
            f"call seen, {10 * needed:,} to measure it; the lowest rate that {count:,} can bound is {least}"
        )
        return {**base, "recall": None, "reason": reason}
    if not len(positives):
        return {**base, "recall": None, "reason": "there are no positives"}
    rate = per_million / 1e6
    allowed = int(np.floor(rate * count + 1e-9))
    strict = next((k for k in range(allowed, -1, -1) if beta.ppf(0.95, k + 1, count - k) <= rate), None)
    return {
        **base,
        "support": "measured" if count >= 10 * needed else "claimed",
        "threshold_source": "this evaluation set; not validation data",
        **_operating_point(negatives, positives, allowed),
        "at_bound": None if strict is None else _operating_point(negatives, positives, strict),
    }


def _operating_point(negatives: np.ndarray, positives: np.ndarray, allowed: int) -> dict[str, Any]:
    threshold = negatives[allowed]
    false, hits = int((negatives > threshold).sum()), int((positives > threshold).sum())
    return {
        "threshold_log_odds": float(threshold),
        "false_calls": false,
        "false_calls_per_million_interval": [1e6 * bound for bound in clopper_pearson(false, len(negatives))],
        "true_calls": hits,
        "recall": hits / len(positives),
        "recall_interval": list(clopper_pearson(hits, len(positives))),
    }
