"""Risk against coverage: how the error falls as the least certain crops are left unassigned."""

from __future__ import annotations

import numpy as np


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fraction kept and error among those kept, from the most certain crop down.

    Args:
        confidence: (N,) float; crops of equal confidence share their errors evenly, so that their order is immaterial.
        correct: (N,) bool.

    Returns:
        coverage (N,) from 1/N to 1 and risk (N,).
    """
    order = np.argsort(-confidence, kind="stable")
    _, block, size = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    errors = np.bincount(block, weights=~correct[order])[block] / size[block]
    kept = np.arange(1, len(order) + 1)
    return kept / len(order), np.cumsum(errors) / kept


def area_under_risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> float:
    """AURC: the mean risk over all coverages (Geifman 2019); 0 is best."""
    return float(risk_coverage(confidence, correct)[1].mean())
