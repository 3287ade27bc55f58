"""Intervals of all figures of one evaluation, by bootstrap over groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctcnet.evaluation.bootstrap import FEW_GROUPS, LEVEL, bootstrap_confusion, percentile_interval, resample_weights
from ctcnet.evaluation.calibration import ece_tables
from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.metrics import (
    CLASS_FIGURES,
    SCALAR_FIGURES,
    average_precision,
    brier_score,
    group_confusion,
    negative_log_likelihood,
)


def figure_intervals(scored: ScoredCrops, resamples: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """95 % intervals in the structure of the figures, and how they were made.

    Returns:
        intervals: `[low, high]` under the name of each figure, and under `per_class.<name>`; None where there is none.
        method: level, resamples, seed, groups; 'reason' where there are no intervals, 'note' where they are narrow,
            'classes_without': classes whose crops are all in one group.
    """
    groups = scored.group_count
    method: dict[str, Any] = {
        "method": "percentile bootstrap over groups",
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
        "groups": groups,
    }
    classes = scored.schema.classes
    if groups < 2 or resamples < 1:
        method["reason"] = (
            "all crops are of one group, so that nothing is known about how groups differ"
            if groups < 2
            else "no resamples were asked for"
        )
        empty = dict.fromkeys((*CLASS_FIGURES, "average_precision"))
        scalars: dict[str, Any] = dict.fromkeys((*SCALAR_FIGURES, "ece", "nll", "brier"))
        return {**scalars, "per_class": {name: dict(empty) for name in classes}}, method
    if groups < FEW_GROUPS:
        method["note"] = f"{groups} groups are few: percentile intervals over fewer than {FEW_GROUPS} are too narrow"
    table = group_confusion(scored.truth, scored.called, scored.group_index, groups, len(classes))
    draws = bootstrap_confusion(table, resamples, seed)
    in_groups = (table.sum(axis=2) > 0).sum(axis=0)
    method["classes_without"] = [name for name, number in zip(classes, in_groups, strict=True) if number < 2]
    intervals: dict[str, Any] = {name: _interval(draws[name]) for name in SCALAR_FIGURES}
    intervals |= _additive_intervals(scored, resamples, seed)
    intervals["per_class"] = {}
    for index, name in enumerate(classes):
        known = in_groups[index] >= 2
        entry = {figure: _interval(draws[figure][:, index]) if known else None for figure in CLASS_FIGURES}
        entry["average_precision"] = _precision_interval(scored, index, resamples, seed) if known else None
        intervals["per_class"][name] = entry
    return intervals, method


def confusion_intervals(scored: ScoredCrops, resamples: int, seed: int) -> dict[str, Any]:
    """Intervals of `SCALAR_FIGURES` alone; None each where there are fewer than two groups."""
    groups = scored.group_count
    if groups < 2 or resamples < 1:
        return dict.fromkeys(SCALAR_FIGURES)
    table = group_confusion(scored.truth, scored.called, scored.group_index, groups, len(scored.schema.classes))
    draws = bootstrap_confusion(table, resamples, seed)
    return {name: _interval(draws[name]) for name in SCALAR_FIGURES}


def _additive_intervals(scored: ScoredCrops, resamples: int, seed: int) -> dict[str, Any]:
    """Intervals of figures that are functions of sums over crops: ece, nll, brier."""
    correct = scored.called == scored.truth
    columns = np.column_stack(
        [
            np.ones(len(scored)),
            negative_log_likelihood(scored.probabilities, scored.targets),
            brier_score(scored.probabilities, scored.targets),
            ece_tables(scored.probabilities, correct),
        ]
    )
    sums = np.zeros((scored.group_count, columns.shape[1]))
    np.add.at(sums, scored.group_index, columns)
    totals = np.concatenate([w @ sums for w in resample_weights(scored.group_count, resamples, seed)])
    size = totals[:, 0]
    draws = {
        "ece": np.abs(totals[:, 3:]).sum(axis=1) / size,
        "nll": totals[:, 1] / size,
        "brier": totals[:, 2] / size,
    }
    return {name: _interval(values) for name, values in draws.items()}


def _precision_interval(scored: ScoredCrops, index: int, resamples: int, seed: int) -> list[float] | None:
    positive, score = scored.truth == index, scored.probabilities[:, index]
    chunks = resample_weights(scored.group_count, resamples, seed, chunk_values=len(scored))
    return _interval(np.concatenate([average_precision(positive, score, scored.group_index, w) for w in chunks]))


def _interval(values: np.ndarray) -> list[float] | None:
    interval = percentile_interval(values)
    return None if interval is None else list(interval)
