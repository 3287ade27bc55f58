"""Figures of a classifier, as functions of arrays.

Every function that takes a confusion matrix takes stacks of them too (leading axes), so that the bootstrap uses the
same code as the figure itself. A class without a crop in the truth has no recall, F1 or average precision (NaN), and
the macro averages go over the classes that have crops: a false call into an absent class still costs another class.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_CHUNK_VALUES = 4_000_000

SCALAR_FIGURES: tuple[str, ...] = ("macro_f1", "balanced_accuracy", "accuracy", "cohen_kappa")
CLASS_FIGURES: tuple[str, ...] = ("precision", "recall", "f1")


def group_confusion(
    truth: np.ndarray, called: np.ndarray, group_index: np.ndarray, num_groups: int, num_classes: int
) -> np.ndarray:
    """Confusion counts of each group.

    Args:
        truth, called: (N,) int, 0 to K - 1.
        group_index: (N,) int, 0 to G - 1.

    Returns:
        (G, K, K) float64; rows are the truth, columns what was called.
    """
    cell = (group_index * num_classes + truth) * num_classes + called
    counts = np.bincount(cell, minlength=num_groups * num_classes**2)
    return counts.reshape(num_groups, num_classes, num_classes).astype(np.float64)


def confusion_figures(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, balanced accuracy, macro-F1, Cohen's kappa and per-class figures from confusion matrices.

    Args:
        confusion: (..., K, K), counts; rows are the truth.

    Returns:
        `SCALAR_FIGURES` of shape (...), `CLASS_FIGURES` and 'support' of shape (..., K). Precision of a class that has
        crops and was never called is 0, as in scikit-learn with zero_division=0.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, calls, total = confusion.sum(axis=-1), confusion.sum(axis=-2), confusion.sum(axis=(-2, -1))
    present = support > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = np.where(present, hits / support, np.nan)
        precision = np.where(calls > 0, hits / calls, np.where(present, 0.0, np.nan))
        f1 = np.where(present, 2 * hits / (support + calls), np.nan)
        accuracy = hits.sum(axis=-1) / total
        chance = (support * calls).sum(axis=-1) / total**2
        kappa = (accuracy - chance) / (1 - chance)
        number = present.sum(axis=-1)
        return {
            "macro_f1": np.nansum(f1, axis=-1) / number,
            "balanced_accuracy": np.nansum(recall, axis=-1) / number,
            "accuracy": accuracy,
            "cohen_kappa": np.where(np.isclose(chance, 1), np.nan, kappa),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "support": support,
        }


def average_precision(
    positive: np.ndarray, score: np.ndarray, group_index: np.ndarray | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the precision-recall curve as the sum of precision times step in recall (as scikit-learn's).

    Args:
        positive: (N,) bool.
        score: (N,) float, greater is more likely positive; equal scores share one step.
        group_index: (N,) int; with `weights`.
        weights: (B, G), how often each group counts in each of B resamples.

    Returns:
        () or (B,); NaN where there is no positive.
    """
    if group_index is None or weights is None:
        group_index, weights = np.zeros(len(score), dtype=np.int64), np.ones((1, 1))
        return average_precision(positive, score, group_index, weights)[0]
    order = np.argsort(-score, kind="stable")
    group, hit = group_index[order], positive[order].astype(bool)
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    ends = ends[np.diff(np.cumsum(hit)[ends], prepend=0) > 0]
    if not len(ends):
        return np.full(len(weights), np.nan)
    few_groups = weights.shape[1] * len(ends) < 100 * len(score)
    count = _counts_by_group if few_groups else _counts_by_crop
    area, last = np.zeros(len(weights)), np.zeros((len(weights), 1))
    for every, hits in count(group, hit, ends, weights):
        steps = np.diff(hits, axis=1, prepend=last)
        area += np.divide(hits * steps, every, out=np.zeros_like(hits), where=every > 0).sum(axis=1)
        last = hits[:, -1:]
    return np.divide(area, last[:, 0], out=np.full(len(weights), np.nan), where=last[:, 0] > 0)


def _counts_by_crop(
    group: np.ndarray, hit: np.ndarray, ends: np.ndarray, weights: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Crops and positives up to and including each end, (B, len(ends)); cheap where groups are many."""
    weight = weights[:, group]
    yield np.cumsum(weight, axis=1)[:, ends], np.cumsum(weight * hit, axis=1)[:, ends]


def _counts_by_group(
    group: np.ndarray, hit: np.ndarray, ends: np.ndarray, weights: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `_counts_by_crop`, in chunks of ends, by matrix products; cheap where groups are few."""
    groups = weights.shape[1]
    step = max(1, _CHUNK_VALUES // max(len(weights), groups))
    carried = np.zeros((2, groups))
    first = 0
    for start in range(0, len(ends), step):
        chunk = ends[start : start + step]
        inside = slice(first, int(chunk[-1]) + 1)
        place = np.searchsorted(chunk, np.arange(first, chunk[-1] + 1)) * groups + group[inside]
        tables = []
        for row, wanted in enumerate((np.ones(len(place)), hit[inside])):
            table = np.bincount(place, weights=wanted, minlength=len(chunk) * groups).reshape(-1, groups)
            table = np.cumsum(table, axis=0) + carried[row]
            carried[row] = table[-1]
            tables.append(weights @ table.T)
        yield tables[0], tables[1]
        first = int(chunk[-1]) + 1


def precision_recall_curve(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision at each distinct score, from the highest down; at least one positive is needed."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    hits = np.cumsum(positive[order])[ends]
    return hits / max(int(positive.sum()), 1), hits / (ends + 1)


def negative_log_likelihood(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cross-entropy of each crop in nats, (N,); probabilities are kept above 1e-12."""
    return -(targets * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)


def brier_score(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Squared distance between probabilities and target of each crop, (N,), 0 to 2 (Brier 1950)."""
    return ((probabilities - targets) ** 2).sum(axis=1)


def reader_disagreement(targets: np.ndarray) -> dict[str, float | int]:
    """How far the readers were from one another: crops with more than one label, ties, and mean top weight."""
    top = targets.max(axis=1)
    return {
        "crops_with_more_than_one_label": int((top < 1 - 1e-6).sum()),
        "crops_tied": int(((targets >= top[:, None] - 1e-6).sum(axis=1) > 1).sum()),
        "mean_weight_of_first_label": float(top.mean()),
    }
