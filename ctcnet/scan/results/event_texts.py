"""What is written below the pictures of an event in the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ctcnet.scan.results.report_texts import class_text, format_level, format_probability

_FLAG_TEXTS: Mapping[str, str] = {
    "at_edge": "not seen whole",
    "saturated": "saturated pixels",
    "unregistered": "the channels of this frame do not show the same place",
    "crowded": "in a crowd of cells",
}
_BORDER = "at_border"
_DISAGREE = "network and written definition disagree"
_SATURATED = "CTC with saturated pixels"


@dataclass(frozen=True)
class EventTexts:
    """Texts of one event: its class, its probability, what to take care of, and figures."""

    title: str
    probability: str
    warnings: tuple[str, ...]
    lines: tuple[str, ...]


def event_texts(
    row: Mapping[str, Any], markers: Sequence[str], classes: Sequence[str], ctc_classes: Sequence[str]
) -> EventTexts:
    """Texts of an event.

    Args:
        row: its columns in `events.parquet`.
        markers: channels of the cartridge.
        classes: classes of the model.
        ctc_classes: those that contain a CTC.
    """
    called = row["label"] in ctc_classes and not row["unassigned"]
    title = "unassigned" if row["unassigned"] else class_text(str(row["label"]))
    definition = _plain(str(row["definition_reason"] or ""), classes)
    warnings = _warnings(row, definition if called else "", classes)
    diameter = float(row["diameter_um"])
    kind = str(row["kind"]) if row["members"] < 2 else f"{row['kind']} of {row['members']} cells"
    size = f"{diameter:.1f} µm" if diameter > 0 else "too faint to measure its size"
    across = ", seen across two frames" if _BORDER in str(row["flags"]).split(";") else ""
    place = f"frame {row['frame']}, x {float(row['x_px']):.0f}, y {float(row['y_px']):.0f} px{across}"
    lines = [f"{kind}, {size}", f"{place}, event {row['event_id']}"]
    levels = [f"{m} {format_level(float(row[f'snr_{m}']))}" for m in markers if f"snr_{m}" in row]
    lines += ["signal to noise: " + ", ".join(levels)] if levels else []
    lines += [f"phenotype {row['phenotype']}"] if row["phenotype"] else []
    lines += ["touches " + class_text(str(row["partners"]).replace("+", " and "))] if row["partners"] else []
    lines += [f"written definition not met: {definition}"] if definition and not called else []
    return EventTexts(title, format_probability(row["p_contains_ctc"]), warnings, tuple(lines))


def _warnings(row: Mapping[str, Any], definition: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Reasons and flags without those that another one says already."""
    reasons = [_plain(part, classes) for part in str(row["review_reason"] or "").split("; ") if part]
    if definition:
        reasons = [part for part in reasons if part != _DISAGREE] + [definition]
    flags = [flag for flag in str(row["flags"] or "").split(";") if flag in _FLAG_TEXTS]
    texts = [_FLAG_TEXTS[flag] for flag in flags if not (flag == "saturated" and _SATURATED in reasons)]
    return tuple(dict.fromkeys(reasons + texts))


def _plain(text: str, classes: Sequence[str]) -> str:
    """Names of classes inside a sentence as people write them."""
    for name in classes:
        if "_" in name:
            text = re.sub(rf"\b{re.escape(name)}\b", class_text(name), text)
    return text
