"""What two runtimes make of the same inputs, compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from runtime_cases import Answer

from ctcnet.export.frame_parity import match_events
from ctcnet.export.parity import BATCH_SIZES, decision_flips
from ctcnet.model_card import ModelCard
from ctcnet.runtime import FrameEvents, Predictions
from ctcnet.runtime.frame_predictor import OUTPUTS


def compare_crops(expected: list[Answer], found: list[Answer], card: ModelCard) -> dict[str, Any]:
    """Largest difference between probabilities for each batch size, and decisions that differ."""
    largest: dict[int, float] = dict.fromkeys(BATCH_SIZES, 0.0)
    decisions = inside = outside = 0
    for first, second in zip(expected, found, strict=True):
        a, b = (Predictions(**_outputs(answer, Predictions._fields)) for answer in (first, second))
        size = int(first.name.split(",")[0].removeprefix("batch "))
        largest[size] = max(largest[size], _largest(a.probabilities - b.probabilities))
        flips = decision_flips(a, b, card)
        decisions += len(a.probabilities)
        inside, outside = inside + int(flips.inside.sum()), outside + int(flips.outside.sum())
    return {
        **{f"largest difference, batch {size}": f"{value:.1e}" for size, value in largest.items()},
        "decisions": decisions,
        "differ in the guard band": inside,
        "differ outside": outside,
    }


def compare_frames(expected: list[Answer], found: list[Answer], card: ModelCard) -> list[dict[str, Any]]:
    """For each size of frame: events of one runtime alone, largest differences, and decisions that differ."""
    sizes: dict[str, list[tuple[FrameEvents, FrameEvents]]] = {}
    for first, second in zip(expected, found, strict=True):
        pair = FrameEvents(**_outputs(first, OUTPUTS)), FrameEvents(**_outputs(second, OUTPUTS))
        sizes.setdefault(first.name.split(",")[0], []).append(pair)
    return [{"frame": size, **_frame_row(pairs, card)} for size, pairs in sizes.items()]


def _frame_row(pairs: list[tuple[FrameEvents, FrameEvents]], card: ModelCard) -> dict[str, Any]:
    events = alone = inside = outside = 0
    distance_px = difference = 0.0
    for first, second in pairs:
        matched = match_events(first, second)
        a, b = (_classified(frame, rows) for frame, rows in zip((first, second), matched.T, strict=True))
        flips = decision_flips(a, b, card)
        events += len(first)
        alone += len(first) + len(second) - 2 * len(matched)
        inside, outside = inside + int(flips.inside.sum()), outside + int(flips.outside.sum())
        difference = max(difference, _largest(a.probabilities - b.probabilities))
        for name in ("x_px", "y_px"):
            apart = getattr(first, name)[matched[:, 0]] - getattr(second, name)[matched[:, 1]]
            distance_px = max(distance_px, _largest(apart))
    return {
        "events": events,
        "in one alone": alone,
        "largest shift, px": f"{distance_px:.1e}",
        "largest difference": f"{difference:.1e}",
        "differ in the guard band": inside,
        "differ outside": outside,
    }


def _classified(events: FrameEvents, rows: np.ndarray) -> Predictions:
    none = np.empty((len(rows), 0), np.float32)
    return Predictions(events.probabilities[rows], events.unassigned[rows], events.atypicality[rows], none)


def _outputs(answer: Answer, names: tuple[str, ...]) -> dict[str, Any]:
    if answer.error:
        raise RuntimeError(f"{answer.name}: {answer.error}")
    return {name: answer.outputs[name] for name in names}


def _largest(values: np.ndarray) -> float:
    """Largest absolute value; infinite where one is no number."""
    return float(np.abs(values).max(initial=0)) if np.isfinite(values).all() else float("inf")
