"""Marker calls: which events are positive for which marker."""

from __future__ import annotations

import numpy as np

from ctcnet.panel import Panel
from ctcnet.scan.measure.event_columns import Columns, event_count
from ctcnet.scan.measure.references import LeukocyteReference

LEAST_PLATELET_UM2 = 1.5
"""Least area of platelet stain on a cell: platelets are 1 to 3 um wide, the smallest of them rounds to specks."""


def is_positive(columns: Columns, reference: LeukocyteReference, marker: str) -> np.ndarray:
    """Events above the marker's threshold, (N,) bool, each row by its own stain.

    For platelet markers the brightest pixel counts, and an area of at least `LEAST_PLATELET_UM2`. A marker that the
    reference does not hold, as that of a cartridge without events, has no threshold: no event is positive for it.
    """
    entry = reference.markers.get(marker)
    if entry is None:
        return np.zeros(event_count(columns), bool)
    positive = np.asarray(columns[entry.measure], np.float64) > entry.threshold
    if entry.role == "platelet":
        positive &= np.asarray(columns[f"positive_area_um2_{marker}"]) >= LEAST_PLATELET_UM2
    return positive


def any_positive(columns: Columns, reference: LeukocyteReference, panel: Panel, role: str) -> np.ndarray | None:
    """Events positive for at least one marker of a role, (N,) bool; None where the panel has no such channel."""
    markers = [channel.marker for channel in panel.channels if channel.role == role]
    if not markers:
        return None
    positive = np.zeros(event_count(columns), bool)
    for marker in markers:
        positive |= is_positive(columns, reference, marker)
    return positive
