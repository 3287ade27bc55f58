"""Thresholds of marker calls as rows of a table for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ctcnet.scan.measure.references import MarkerReference

_BELOW = "leukocyte"
"""Role whose markers are wrong below the threshold; those of other roles above it."""
_SOURCES = {
    "leukocytes": "from the cartridge's leukocytes",
    "noise": "from the noise of the channel",
    "two_populations": "between leukocytes with and without it",
}


class ThresholdRow(NamedTuple):
    """One marker.

    Attributes:
        marker, role: of the channel.
        measure: 'mean' or 'brightest pixel' of an event.
        threshold: in camera counts over the local background.
        median: of the leukocytes, in the same counts; a dash without leukocytes.
        expected, seen: leukocytes on the wrong side of the threshold: the share expected, a dash where there is none,
            and the number counted, '' likewise.
        source: where the threshold comes from.
    """

    marker: str
    role: str
    measure: str
    threshold: str
    median: str
    expected: str
    seen: str
    source: str


def threshold_rows(references: Sequence[MarkerReference]) -> list[ThresholdRow]:
    """Rows in the order of the channels."""
    return [_row(reference) for reference in references]


def _row(reference: MarkerReference) -> ThresholdRow:
    has_wrong_side = reference.role not in ("neutrophil", "platelet")
    side = "below" if reference.role == _BELOW else "above"
    seen = f"{reference.observed:,} of {reference.leukocytes:,} {side}"
    return ThresholdRow(
        reference.marker,
        reference.role,
        "brightest pixel" if reference.measure.startswith("max_") else "mean",
        _counts(reference.threshold),
        _counts(reference.median),
        _percent(reference.implied_rate) if has_wrong_side else "–",
        seen if has_wrong_side and reference.leukocytes else "",
        _SOURCES[reference.source],
    )


def _counts(value: float) -> str:
    if value != value:
        return "–"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def _percent(share: float) -> str:
    return "–" if share != share else f"{100 * share:.2g} %"
