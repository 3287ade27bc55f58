"""Figures of the report, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctcnet.evaluation.risk_coverage import risk_coverage
from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.metrics import precision_recall_curve
from ctcnet.svg_figure import COLOURS, STYLE, svg_text

_STYLES: tuple[str, ...] = ("-", "--", ":", "-.")
_POINTS = 300


def precision_recall_figure(scored: ScoredCrops, note: str = "") -> str:
    """Precision against recall of each class that has crops, one against the rest."""
    with mpl.rc_context(STYLE):
        figure, axes = _new_axes("recall", "precision", note)
        for index, name in enumerate(scored.schema.classes):
            positive = scored.truth == index
            if positive.any():
                recall, precision = precision_recall_curve(positive, scored.probabilities[:, index])
                keep = _thin(len(recall))
                style = _STYLES[index // len(COLOURS) % len(_STYLES)]
                axes.plot(recall[keep], precision[keep], style, color=COLOURS[index % len(COLOURS)], lw=1.8, label=name)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.legend(loc="lower left")
        return svg_text(figure, "Precision-recall curves")


def risk_coverage_figure(scored: ScoredCrops, note: str = "") -> str:
    """Error among the crops kept, against the fraction kept; a point marks what the model leaves unassigned."""
    with mpl.rc_context(STYLE):
        figure, axes = _new_axes("fraction of crops kept (most certain first)", "error among those kept", note)
        correct = scored.called == scored.truth
        coverage, risk = risk_coverage(scored.probabilities.max(axis=1), correct)
        keep = _thin(len(coverage))
        axes.plot(coverage[keep], risk[keep], color=COLOURS[0], lw=1.8)
        kept = ~scored.unassigned
        if kept.any() and not kept.all():
            error = float((~correct[kept]).mean())
            axes.plot([kept.mean()], [error], "o", color=COLOURS[1], label="as set: rest is unassigned")
            axes.legend(loc="upper left")
        axes.set(xlim=(0, 1.01), ylim=(0, max(float(risk.max()) * 1.1, 0.01)))
        return svg_text(figure, "Risk-coverage curve")


def log_odds_figure(calibration: Mapping[str, Any], note: str = "") -> str:
    """Observed against predicted log-odds of the roll-up, with exact intervals; open ends run to the frame."""
    with mpl.rc_context(STYLE):
        figure, axes = _new_axes("predicted log-odds", "observed log-odds", note)
        bins = calibration["bins"]
        ends = [bound for entry in bins for bound in entry["observed_interval"] if bound is not None]
        limit = float(np.ceil(max([4.0, *(abs(e["mean_predicted_log_odds"]) for e in bins), *map(abs, ends)]))) + 1
        axes.plot([-limit, limit], [-limit, limit], color="#8a94a0", lw=1, label="calibrated")
        shift = calibration["shift_expected_from_mix"]
        if shift is not None and abs(shift) > 0.1:
            line = np.array([-limit, limit])
            axes.plot(line, line + shift, "--", color="#8a94a0", lw=1, label="calibrated, at this set's mix")
        for entry in bins:
            low, high = entry["observed_interval"]
            place = entry["mean_predicted_log_odds"]
            axes.plot([place, place], [-limit if low is None else low, limit if high is None else high],
                      color=COLOURS[0], lw=1.4)  # fmt: skip
            if entry["observed_log_odds"] is not None:
                axes.plot([place], [entry["observed_log_odds"]], "o", color=COLOURS[0], ms=5)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
        axes.legend(loc="upper left")
        return svg_text(figure, "Reliability of P(contains a CTC) in log-odds")


def top_label_figure(scored: ScoredCrops, bins: int, note: str = "") -> str:
    """Accuracy against confidence of the class called, in equal-width bins; dots grow with the number of crops."""
    with mpl.rc_context(STYLE):
        figure, axes = _new_axes("confidence of the class called", "fraction correct", note)
        confidence, correct = scored.probabilities.max(axis=1), scored.called == scored.truth
        place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        used = np.unique(place)
        number = np.array([(place == b).sum() for b in used])
        axes.plot([0, 1], [0, 1], color="#8a94a0", lw=1, label="calibrated")
        x = [float(confidence[place == b].mean()) for b in used]
        y = [float(correct[place == b].mean()) for b in used]
        axes.scatter(x, y, s=20 + 160 * number / number.max(), color=COLOURS[0], alpha=0.85, label="crops in a bin")
        axes.set(xlim=(0, 1.03), ylim=(-0.02, 1.05))
        axes.legend(loc="upper left", markerscale=0.6)
        return svg_text(figure, "Reliability of the class called")


def _new_axes(xlabel: str, ylabel: str, note: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 4.1), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_axisbelow(True)
    if note:
        axes.set_title(note, loc="right", fontsize=9, color="#9a5b00")
    return figure, axes


def _thin(count: int) -> np.ndarray:
    """Indices of at most about `_POINTS` points, denser at the start, the ends included."""
    if count <= _POINTS:
        return np.arange(count)
    return np.unique(np.r_[np.linspace(0, count - 1, _POINTS), np.geomspace(1, count - 1, _POINTS // 3)].astype(int))
