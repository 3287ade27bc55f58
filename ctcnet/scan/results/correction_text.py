"""How a count was corrected, in plain words for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctcnet.labels import CONTAINS_CTC
from ctcnet.scan.results.report_texts import class_text, format_interval


def correction_sentences(counts: Mapping[str, Any]) -> list[str]:
    """Sentences on the corrected count; none where it is not corrected.

    Args:
        counts: content of `counts.json`, from `ctcnet.scan.counting.counts.count_events`.
    """
    record = counts["correction"]
    if not record or not record["applied"]:
        return []
    rates, total = record["rates"], counts[CONTAINS_CTC]
    found = rates["sensitivity"]
    low, high = (100 * bound for bound in found["interval"])
    events = " and ".join(f"{n:,} of {class_text(name)}" for name, n in record["events_counted"].items())
    seen = " and ".join(
        f"{rate['called']:,} of {rate['events']:,} events of {class_text(name)}"
        for name, rate in rates["false_calls"].items()
    )
    cells = "simulated cells" if rates["simulated"] else "real cells"
    corrected, expected = format_interval(total["corrected"]["interval"]), record["false_calls_expected"]
    called = f"{found['called']:,} of {found['events']:,} events with a CTC ({low:.0f} to {high:.0f} %)"
    return [
        f"Corrected for what the model misses and calls falsely, the mean behind the count is {corrected} (95 %).",
        f"Measured on {cells} of {rates['groups']} groups new to the model: it called {called}, and falsely {seen}.",
        f"By that, {_few(expected)} false calls are to be expected among the events counted here, {events}.",
        "How uncertain these rates are is part of the interval.",
        "CTCs that were not detected at all are not in it, nor is how far cells here differ from those measured.",
    ]


def _few(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"
