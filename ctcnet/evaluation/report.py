"""The report: one HTML file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ctcnet.evaluation.call_counts import call_lines
from ctcnet.evaluation.figures import log_odds_figure, precision_recall_figure, risk_coverage_figure, top_label_figure
from ctcnet.evaluation.gallery import Gallery
from ctcnet.evaluation.scored_crops import ScoredCrops

HEADLINES: tuple[tuple[str, str, str], ...] = (
    ("macro_f1", "Macro-F1", "mean of the classes' F1; a rare class counts as much as a common one"),
    ("balanced_accuracy", "Balanced accuracy", "mean of the classes' recall"),
    ("accuracy", "Accuracy", "fraction called right"),
    ("cohen_kappa", "Cohen's kappa", "agreement beyond chance"),
    ("ece", "Calibration error", "top-label, 0 is best"),
)


def write_report(
    path: Path,
    scored: ScoredCrops,
    metrics: Mapping[str, Any],
    galleries: Sequence[Gallery],
    white_levels: Sequence[str],
    markers: Sequence[str],
) -> None:
    """Write `report.html`.

    Args:
        path: file to write.
        scored: what the model said.
        metrics: content of `metrics.json`, with the keys that the verb adds (model, simulated, prior, ...).
        galleries, white_levels: from `gallery.make_galleries`.
        markers: channel names in the order of the galleries' pictures.
    """
    note = "simulated cells" if metrics["simulated"] else ""
    figures = [
        ("Precision and recall", precision_recall_figure(scored, note), "Each class against the rest."),
        (
            "Risk and coverage",
            risk_coverage_figure(scored, note),
            "How the error falls when the least certain crops are left unassigned.",
        ),
    ]
    if "calibration" in metrics:
        text = "Bars are exact 95 % intervals, events taken as independent; a bar that meets the frame has no bound."
        figures.append(("Reliability: does it contain a CTC?", log_odds_figure(metrics["calibration"], note), text))
    figures.append(
        (
            "Reliability: the class called",
            top_label_figure(scored, metrics["ece_bins"], note),
            "Larger dots hold more crops. Points below the line: too sure of itself.",
        )
    )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": format_figure, "interval": format_interval, "shade": _shade}
    page = environment.get_template("report.html.j2").render(
        m=metrics,
        headlines=HEADLINES,
        figures=figures,
        galleries=galleries,
        white_levels=white_levels,
        markers=markers,
        row_sums=[sum(row) for row in metrics["confusion"]],
        call_lines=call_lines(metrics["contains_ctc"]["as_counted"]) if "contains_ctc" in metrics else [],
    )
    path.write_text(page, encoding="utf-8")


def format_figure(value: float | None, digits: int = 3) -> str:
    """A figure for people: three decimals, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def format_interval(interval: Sequence[float | None] | None, digits: int = 3) -> str:
    """An interval for people; an open end is written as such, no interval as an empty text."""
    if interval is None:
        return ""
    low, high = interval
    return f"{'…' if low is None else f'{low:.{digits}f}'} to {'…' if high is None else f'{high:.{digits}f}'}"


def _shade(count: int, total: int) -> str:
    """Background and text colour of a cell of the confusion matrix by its fraction of the row."""
    share = count / total if total else 0.0
    mix = [round(255 + (end - 255) * share) for end in (0, 114, 178)]
    return f"background:rgb({mix[0]},{mix[1]},{mix[2]});color:{'#fff' if share > 0.55 else '#1c242c'}"
