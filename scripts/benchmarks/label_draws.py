"""A few labelled crops of each class, drawn so that smaller draws lie within larger ones."""

from __future__ import annotations

import numpy as np


def draw_labels(labels: np.ndarray, allowed: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Rows to label: of each class the first `per_class` of its allowed rows in an order that the seed shuffles.

    Args:
        labels: int (N,), class of each row.
        allowed: bool (N,), the rows of the groups that may be labelled.
        per_class: rows of each class; all there are where a class has fewer.
        seed: same seed, same order, whatever `per_class` is.

    Returns:
        int64, sorted.
    """
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(allowed & (labels == k)))[:per_class] for k in range(int(labels.max()) + 1)
    ]
    return np.sort(np.concatenate(chosen))
