"""All figures of one evaluation as plain data: the content of `metrics.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ctcnet.evaluation.calibration import ECE_BINS, expected_calibration_error, log_odds_calibration
from ctcnet.evaluation.call_counts import call_counts
from ctcnet.evaluation.intervals import confusion_intervals, figure_intervals
from ctcnet.evaluation.prior import Prior
from ctcnet.evaluation.rare_events import clopper_pearson, recall_at_false_calls
from ctcnet.evaluation.risk_coverage import area_under_risk_coverage
from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.labels import CONTAINS_CTC
from ctcnet.metrics import (
    CLASS_FIGURES,
    SCALAR_FIGURES,
    average_precision,
    brier_score,
    confusion_figures,
    group_confusion,
    negative_log_likelihood,
    reader_disagreement,
)

FORMAT = 1


def summarise(scored: ScoredCrops, prior: Prior, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Every figure of an evaluation, with its interval beside it under 'intervals'.

    All figures but those under 'unassigned' and 'as_counted' take the class of largest probability for every crop,
    assigned or not.

    Args:
        scored: what the model said.
        prior: (K,), class frequencies that the probabilities refer to.
        resamples: bootstrap resamples over groups; 0 leaves the intervals empty.
        seed: of the bootstrap.

    Returns:
        Plain data fit for JSON; a figure that cannot be had is None.
    """
    classes = scored.schema.classes
    correct = scored.called == scored.truth
    confusion = group_confusion(scored.truth, scored.called, scored.group_index, scored.group_count, len(classes)).sum(
        axis=0
    )
    figures = confusion_figures(confusion)
    intervals, method = figure_intervals(scored, resamples, seed)
    content: dict[str, Any] = {
        "format": FORMAT,
        **{name: float(figures[name]) for name in SCALAR_FIGURES},
        "ece": expected_calibration_error(scored.probabilities, correct),
        "nll": float(negative_log_likelihood(scored.probabilities, scored.targets).mean()),
        "brier": float(brier_score(scored.probabilities, scored.targets).mean()),
        "aurc": area_under_risk_coverage(scored.probabilities.max(axis=1), correct),
        "ece_bins": ECE_BINS,
        "per_class": _per_class(scored, figures),
        "intervals": intervals,
        "intervals_method": method,
        "confusion": confusion.astype(int).tolist(),
        "classes": list(classes),
        "classes_absent": [name for name, n in zip(classes, figures["support"], strict=True) if n == 0],
        "crops": len(scored),
        "groups": scored.group_count,
        "unassigned": _unassigned(scored, correct),
        "readers": reader_disagreement(scored.targets),
        "levels": dict(sorted(Counter(map(str, scored.levels)).items())),
        "per_batch": _per_batch(scored, resamples, seed),
    }
    if CONTAINS_CTC in scored.schema.rollups:
        content |= _rare_event_figures(scored, prior)
    return plain(content)


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numpy numbers and arrays unpacked, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _per_class(scored: ScoredCrops, figures: Mapping[str, np.ndarray]) -> dict[str, Any]:
    result = {}
    for index, name in enumerate(scored.schema.classes):
        entry: dict[str, Any] = {figure: float(figures[figure][index]) for figure in CLASS_FIGURES}
        entry["average_precision"] = float(average_precision(scored.truth == index, scored.probabilities[:, index]))
        entry["support"] = int(figures["support"][index])
        result[name] = entry
    return result


def _unassigned(scored: ScoredCrops, correct: np.ndarray) -> dict[str, Any]:
    kept = ~scored.unassigned
    per_class = {
        name: float(scored.unassigned[scored.truth == index].mean()) if (scored.truth == index).any() else None
        for index, name in enumerate(scored.schema.classes)
    }
    return {
        "crops": int(scored.unassigned.sum()),
        "fraction": float(scored.unassigned.mean()),
        "fraction_per_class": per_class,
        "accuracy_of_assigned": float(correct[kept].mean()) if kept.any() else None,
    }


def _per_batch(scored: ScoredCrops, resamples: int, seed: int) -> dict[str, Any]:
    names = sorted(set(map(str, scored.batch)))
    if names == [""]:
        return {}
    result = {}
    for name in names:
        part = scored.subset(scored.batch.astype(str) == name)
        table = group_confusion(
            part.truth, part.called, part.group_index, part.group_count, len(part.schema.classes)
        ).sum(axis=0)
        figures = confusion_figures(table)
        result[name or "(not stated)"] = {
            "crops": len(part),
            "groups": part.group_count,
            **{figure: float(figures[figure]) for figure in SCALAR_FIGURES},
            "unassigned_fraction": float(part.unassigned.mean()),
            "intervals": confusion_intervals(part, resamples, seed),
        }
    return result


def _rare_event_figures(scored: ScoredCrops, prior: Prior) -> dict[str, Any]:
    """Figures of the roll-up `contains_ctc`."""
    log_odds, positive = scored.rollup(CONTAINS_CTC)
    inside = scored.schema.rollup_mask(CONTAINS_CTC)
    called = inside[scored.called]
    negatives = scored.truth[~positive]
    mix = {
        name: float((negatives == index).mean()) if len(negatives) else None
        for index, name in enumerate(scored.schema.classes)
        if not inside[index]
    }
    share, expected = float(positive.mean()), float(np.asarray(prior)[inside].sum())
    stated = 0 < share < 1 and 0 < expected < 1
    shift = np.log(share / (1 - share)) - np.log(expected / (1 - expected)) if stated else None
    lost = int((positive & ~called).sum())
    return {
        "contains_ctc": {
            "positives": int(positive.sum()),
            "negatives": int((~positive).sum()),
            "negatives_mix": mix,
            "average_precision": float(average_precision(positive, log_odds)),
            "recall_of_calls": None if not positive.any() else 1 - lost / int(positive.sum()),
            "recall_of_calls_interval": None
            if not positive.any()
            else list(clopper_pearson(int(positive.sum()) - lost, int(positive.sum()))),
            "interval_method": "exact (Clopper-Pearson), events taken as independent",
            "as_counted": call_counts(scored),
        },
        "recall_at_false_calls": recall_at_false_calls(log_odds, positive),
        "calibration": {
            "of": f"P({CONTAINS_CTC})",
            **log_odds_calibration(log_odds, positive),
            "fraction_in_this_set": share,
            "fraction_in_prior": expected,
            "shift_expected_from_mix": shift,
        },
    }
