"""A check's findings as a table for people and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ctcnet.crops.checks import CheckReport
from ctcnet.errors import CtcnetError

SHOWN_PER_KIND = 5
"""Findings of one kind printed; the JSON holds all."""


def report_to_dict(report: CheckReport, source: str) -> dict[str, Any]:
    """Plain data: source, numbers of crops, errors and warnings, and every finding."""
    return {
        "source": source,
        "crops": report.crops,
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "findings": [finding.to_dict() for finding in report.findings],
    }


def print_report(report: CheckReport, source: str, console: Console, *, labelled: bool = True) -> None:
    """Print the findings as a table, at most `SHOWN_PER_KIND` of a kind, and a line that sums them up.

    Args:
        labelled: whether the crops were checked for training, and not for being classified alone.
    """
    if report.findings:
        console.print(_table(report, Path(source)))
    errors, warnings = report.count("error"), report.count("warning")
    if labelled:
        verdict = "training would go wrong" if errors else "can be trained on" if warnings else "ready for training"
    else:
        verdict = "not fit to be classified" if errors else "can be classified"
    console.print(Text(f"{source}: {report.crops} crops, {errors} error(s), {warnings} warning(s): {verdict}"))


def _table(report: CheckReport, source: Path) -> Table:
    """Findings kind by kind; what was expected and what to do stand beside the first of each kind."""
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("where", "what", "what to do"):
        table.add_column(name, overflow="fold")
    kinds: dict[tuple[str, str], list[CtcnetError]] = {}
    for finding in report.findings:
        kinds.setdefault((finding.severity, finding.code), []).append(finding.error)
    folder = f"{source if source.is_dir() else source.parent}/"
    for (severity, code), errors in kinds.items():
        style = "red" if severity == "error" else "yellow"
        table.add_section()
        for place, error in enumerate(errors[:SHOWN_PER_KIND]):
            first = place == 0
            details = [("expected", error.expected if first else None), ("found", error.found)]
            text = "; ".join(f"{word} {value}" for word, value in details if value)
            cells = (error.what + (f" ({text})" if text else ""), (error.fix or "") if first else "")
            where = (error.where or "").removeprefix(folder)
            table.add_row(Text(severity, style=style), code, Text(where), *map(Text, cells))
        if len(errors) > SHOWN_PER_KIND:
            table.add_row("", code, "", f"and {len(errors) - SHOWN_PER_KIND} more; --json lists all", "")
    return table
