"""Validation figures during training, in numpy."""

from __future__ import annotations

import numpy as np

from ctcnet.metrics import average_precision, confusion_figures, group_confusion, negative_log_likelihood


def validation_scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Figures over the classes that occur.

    Args:
        probabilities: (N, K), N at least 1.
        targets: (N, K), rows add up to 1; the largest counts as the truth.

    Returns:
        macro_f1, balanced_accuracy, accuracy, mean_average_precision (macro over classes, a rank metric) and
        log_loss in nats against the soft targets.
    """
    count, num_classes = probabilities.shape
    truth, called = targets.argmax(axis=1), probabilities.argmax(axis=1)
    figures = confusion_figures(group_confusion(truth, called, np.zeros(count, np.int64), 1, num_classes)[0])
    precisions = [float(average_precision(truth == k, probabilities[:, k])) for k in np.unique(truth)]
    return {
        **{name: float(figures[name]) for name in ("macro_f1", "balanced_accuracy", "accuracy")},
        "mean_average_precision": float(np.mean(precisions)),
        "log_loss": float(negative_log_likelihood(probabilities.astype(np.float64), targets).mean()),
    }
