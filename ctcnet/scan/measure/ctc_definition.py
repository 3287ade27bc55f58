"""The written definition of a CTC, checked on measurements beside the network's opinion."""

from __future__ import annotations

import numpy as np

from ctcnet.panel import Panel
from ctcnet.scan.measure.event_columns import Columns, event_count, is_kind, joined

LEAST_DIAMETER_UM = 4.0
LEAST_NUCLEUS_IN_CK = 0.5


def check_definition(
    columns: Columns,
    panel: Panel,
    cluster_of: np.ndarray,
    epithelial: np.ndarray | None,
    leukocyte: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Check each event: nucleus at least half inside the CK area, CK+, CD45-, at least 4 um across.

    A cluster meets the definition where one of its members does.

    Args:
        cluster_of: (N,), row of each event's cluster, below 0 for none.
        epithelial, leukocyte: (N,) bool, positive for a marker of that role; None where the panel has none.

    Returns:
        (N,) bool, or an object array of True, False and None where it cannot be said: without an epithelial channel,
        and without a leukocyte channel where nothing else fails. And the reason, (N,) object array of str, that names
        every part that fails or is not known; '' where the definition is met.
    """
    count = event_count(columns)
    if epithelial is None:
        return np.full(count, None, object), np.full(count, "the panel has no epithelial channel", object)
    ck, cd45 = _names(panel, "epithelial"), _names(panel, "leukocyte")
    cluster = is_kind(columns, "cluster")
    nucleus = np.asarray(columns["nucleus_area_um2"]) > 0
    inside = np.nan_to_num(np.asarray(columns["nucleus_in_ck"], np.float64)) >= LEAST_NUCLEUS_IN_CK
    no = np.zeros(count, bool)
    fails = [
        (~nucleus, "no nucleus"),
        (nucleus & ~inside, f"less than half of the nucleus inside the {ck} area"),
        (~epithelial, f"{ck} negative"),
        (no if leukocyte is None else leukocyte, f"{cd45} positive"),
        (np.asarray(columns["diameter_um"]) < LEAST_DIAMETER_UM, f"smaller than {LEAST_DIAMETER_UM:g} um"),
    ]
    failed = np.any([mask for mask, _ in fails], axis=0)
    member = cluster_of >= 0
    one_passes = np.bincount(cluster_of[member & ~failed], minlength=count)[:count] > 0
    reasons = [(mask & ~cluster, text) for mask, text in fails]
    failed = np.where(cluster, ~one_passes, failed)
    reasons.append((cluster & failed, "no member of the cluster meets it"))
    if leukocyte is not None:
        return ~failed, joined(reasons, count)
    reasons.append((np.ones(count, bool), "the panel has no leukocyte channel"))
    met = np.full(count, None, object)
    met[failed] = False
    return met, joined(reasons, count)


def _names(panel: Panel, role: str) -> str:
    return "/".join(channel.marker for channel in panel.channels if channel.role == role)
