"""Validation figures during training, in numpy."""

from __future__ import annotations

import numpy as np


def average_precision(is_positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall steps: sum of precision times the gain in recall; ties count as one step.

    Args:
        is_positive: bool (N,).
        score: float (N,), higher is more positive.

    Returns:
        0 to 1; NaN without positives.
    """
    positives = int(is_positive.sum())
    if positives == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(is_positive[order])
    last_of_tie = np.r_[np.diff(score[order]) != 0, True]
    hits, calls = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    return float(np.sum(np.diff(hits, prepend=0) / positives * hits / calls))


def confusion(truth: np.ndarray, call: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts int64 (K, K), rows truth, columns calls."""
    return np.bincount(truth * num_classes + call, minlength=num_classes**2).reshape(num_classes, num_classes)


def validation_scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Figures over the classes that occur.

    Args:
        probabilities: (N, K), N at least 1.
        targets: (N, K), rows add up to 1; the largest counts as the truth.

    Returns:
        macro_f1, balanced_accuracy, accuracy, mean_average_precision (macro over classes, a rank metric) and
        log_loss in nats against the soft targets.
    """
    num_classes = probabilities.shape[1]
    truth, call = targets.argmax(axis=1), probabilities.argmax(axis=1)
    counts = confusion(truth, call, num_classes)
    support, called, right = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    occurs = support > 0
    f1 = 2 * right[occurs] / (support + called)[occurs]
    precisions = [average_precision(truth == k, probabilities[:, k]) for k in np.flatnonzero(occurs)]
    log_p = np.log(np.clip(probabilities.astype(np.float64), 1e-12, None))
    return {
        "macro_f1": float(f1.mean()),
        "balanced_accuracy": float((right[occurs] / support[occurs]).mean()),
        "accuracy": float((truth == call).mean()),
        "mean_average_precision": float(np.mean(precisions)),
        "log_loss": float(-(targets * log_p).sum(axis=1).mean()),
    }
