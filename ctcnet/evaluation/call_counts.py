"""Calls among labelled crops by the decision that a scan counts by, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctcnet.call_rates import DECISION, LEVEL
from ctcnet.evaluation.rare_events import clopper_pearson
from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.labels import CONTAINS_CTC


def call_counts(scored: ScoredCrops) -> dict[str, Any]:
    """Events called as containing a CTC, by true class, with exact intervals that take events as independent.

    A crop contains a CTC where half or more of its readers say so; its true class is the likeliest on that side.

    Returns:
        decision, interval_level; true_calls and false_calls: class -> {called, events, interval}, classes with events
        alone; sensitivity: the same over all events with a CTC, None where there are none.
    """
    inside = scored.schema.rollup_mask(CONTAINS_CTC)
    _, positive = scored.rollup(CONTAINS_CTC)
    called = inside[scored.called] & ~scored.unassigned
    sides = np.where(positive[:, None] == inside[None], scored.targets, -1.0)
    truth = sides.argmax(axis=1)

    def by_class(wanted: np.ndarray) -> dict[str, Any]:
        names = enumerate(scored.schema.classes)
        return {name: _rate(called[truth == k]) for k, name in names if wanted[k] and (truth == k).any()}

    return {
        "decision": DECISION,
        "interval_level": LEVEL,
        "sensitivity": _rate(called[positive]) if positive.any() else None,
        "true_calls": by_class(inside),
        "false_calls": by_class(~inside),
    }


def call_lines(counts: dict[str, Any]) -> list[str]:
    """The same in words, one line each for sensitivity and the false calls of a class."""
    lines = []
    total = counts["sensitivity"]
    if total is not None:
        lines.append(f"sensitivity: {_of(total)} events with a CTC, {_range(total, 1)}")
    for name, rate in counts["false_calls"].items():
        lines.append(f"false calls: {_of(rate)} events of {name}, {_range(rate, 1e6)} per million of them")
    return lines


def _of(rate: dict[str, Any]) -> str:
    return f"{rate['called']:,} of {rate['events']:,}"


def _range(rate: dict[str, Any], unit: float) -> str:
    value, (low, high) = unit * rate["called"] / rate["events"], (unit * bound for bound in rate["interval"])
    if unit == 1:
        return f"{value:.3f} ({low:.3f} to {high:.3f})"
    return f"{value:,.0f} ({low:,.0f} to {high:,.0f})"


def _rate(called: np.ndarray) -> dict[str, Any]:
    hits = int(called.sum())
    return {"called": hits, "events": len(called), "interval": list(clopper_pearson(hits, len(called), LEVEL))}
