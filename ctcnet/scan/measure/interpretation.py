"""Interpretation: measurements and calls of the network to marker calls, phenotype, definition, partners, review."""

from __future__ import annotations

import numpy as np

from ctcnet.labels import CONTAINS_CTC, LabelSchema
from ctcnet.panel import Panel
from ctcnet.runtime.conformal import REVIEW_PROBABILITY
from ctcnet.scan.measure.clusters import composition, tumour_cells
from ctcnet.scan.measure.ctc_definition import check_definition
from ctcnet.scan.measure.event_columns import (
    Columns,
    contains_ctc,
    event_count,
    flagged,
    in_classes,
    is_kind,
    joined,
    leukocyte_classes,
)
from ctcnet.scan.measure.marker_calls import any_positive, is_positive
from ctcnet.scan.measure.phenotype import phenotype
from ctcnet.scan.measure.references import TUMOUR_ROLES, LeukocyteReference

CROWD_REASON = "in a crowd too large to be one cluster"
"""Why a CTC among too many touching cells is to be looked at: none of them is counted as a cluster."""

SET_REASON = "unassigned, and a class with a CTC is in its conformal set"
"""Why an event is to be looked at that the model cannot name but holds a CTC to be possible at its stated alpha."""

CLUSTER_REASON = "member of a cluster that is to be looked at"
"""Why a cell is to be looked at that stands for a cluster which is not counted; the cluster's own reason follows."""

CELL_ROLES: tuple[str, ...] = ("epithelial", "mesenchymal", "leukocyte", "neutrophil")
"""Roles whose markers tell tumour cells from leukocytes."""


def interpret(
    columns: Columns, reference: LeukocyteReference, panel: Panel, labels: LabelSchema
) -> dict[str, np.ndarray]:
    """Interpret events of a cartridge, all or one unit of them; a cluster and its members come together.

    Args:
        columns: label, unassigned, kind, parent (row of an event's cluster among these rows, below 0 for none), the
            measurements, `p_contains_ctc` where the schema has that roll-up, `set_holds_ctc` where the model has
            conformal sets, and the flags saturated, at_edge and crowded where there are such.
        reference: of the same cartridge.

    Returns:
        Columns of shape (N,): `positive_M` bool for every marker of role epithelial, mesenchymal or target,
        `phenotype`, `definition_met` (bool or, where it may be unknown, object with None), `definition_reason`,
        `review` bool, `review_reason`, `partners`, `tumour_nuclei` int16; texts are object arrays of str. A cluster is
        positive for a marker where one of its tumour cells is, or one of its members where no tumour cell is known.
    """
    count = event_count(columns)
    cluster_of = np.asarray(columns["parent"]).astype(np.int64)
    called = contains_ctc(columns, labels)
    cell, cluster = is_kind(columns, "cell"), is_kind(columns, "cluster")
    role = {name: any_positive(columns, reference, panel, name) for name in CELL_ROLES}
    in_cluster = cluster_of >= 0
    tumour = tumour_cells(called, cell, cluster_of, *(role[name] for name in CELL_ROLES))

    result: dict[str, np.ndarray] = {}
    by_role: dict[str, np.ndarray] = {}
    for channel in panel.channels:
        if channel.role in TUMOUR_ROLES:
            own = is_positive(columns, reference, channel.marker)
            positive = np.where(cluster, _of_members(own, cluster_of, tumour), own)
            result[f"positive_{channel.marker}"] = positive
            by_role[channel.role] = by_role.get(channel.role, np.zeros(count, bool)) | positive
    result["phenotype"] = phenotype(called, by_role.get("epithelial"), by_role.get("mesenchymal"))

    met, reason = check_definition(columns, panel, cluster_of, role["epithelial"], role["leukocyte"])
    disagrees = _disagreement(columns, labels, called, met)
    result["definition_met"] = met
    result["definition_reason"] = _joined_texts(disagrees, reason)

    leukocyte = in_classes(columns, leukocyte_classes(labels))
    if role["leukocyte"] is not None:
        leukocyte = leukocyte | role["leukocyte"]
    parts = composition(
        cluster_of,
        tumour,
        np.asarray(columns["nucleus_count"]),
        leukocyte,
        role["neutrophil"],
        any_positive(columns, reference, panel, "platelet"),
    )
    result["partners"], result["tumour_nuclei"] = parts.partners, parts.tumour_nuclei
    mixed = np.zeros(count, bool)
    if role["epithelial"] is not None and role["leukocyte"] is not None:
        mixed = cell & ~in_cluster & role["epithelial"] & role["leukocyte"]
    member_called = np.bincount(cluster_of[(cluster_of >= 0) & called], minlength=count)[:count] > 0
    reasons = [
        (mixed, "positive for an epithelial and for a leukocyte marker"),
        (disagrees != "", "network and written definition disagree"),
        (_may_contain(columns), "unassigned, and may contain a CTC"),
        (_set_holds_ctc(columns), SET_REASON),
        (called & flagged(columns, "saturated"), "CTC with saturated pixels"),
        (called & flagged(columns, "at_edge"), "CTC not seen whole"),
        ((called | (met == True)) & flagged(columns, "crowded"), CROWD_REASON),  # noqa: E712 (None is neither)
        (cluster & called & (parts.tumour_nuclei == 0), "no member of the cluster is a tumour cell by itself"),
        (cluster & ~called & member_called & (CONTAINS_CTC in labels.rollups), "a member is called a CTC"),
    ]
    result["review"] = np.any([mask for mask, _ in reasons], axis=0)
    result["review_reason"] = joined(reasons, count)
    if "counted" in columns:
        _carry_reviews(result, columns, cluster, cluster_of)
    return result


def _carry_reviews(
    result: dict[str, np.ndarray], columns: Columns, cluster: np.ndarray, cluster_of: np.ndarray
) -> None:
    """Give the review of a cluster that is not counted to its counted member that is likeliest a CTC (in `result`).

    Counts and gallery take counted rows alone. Where a counted member is for review by itself, the cluster is looked at
    with it.
    """
    counted = np.asarray(columns["counted"], bool)
    members = np.flatnonzero((cluster_of >= 0) & counted)
    seen = np.zeros(len(counted), bool)
    seen[cluster_of[members[result["review"][members]]]] = True
    waiting = cluster & ~counted & result["review"] & ~seen
    members = members[waiting[cluster_of[members]]]
    likelihood = np.nan_to_num(np.asarray(columns["p_contains_ctc"], np.float64)[members])
    ordered = members[np.lexsort((members, -likelihood, cluster_of[members]))]
    first = np.unique(cluster_of[ordered], return_index=True)[1]
    for row in ordered[first].tolist():
        result["review"][row] = True
        result["review_reason"][row] = f"{CLUSTER_REASON}: {result['review_reason'][cluster_of[row]]}"


def _of_members(own: np.ndarray, cluster_of: np.ndarray, tumour: np.ndarray) -> np.ndarray:
    """For rows of clusters: whether a tumour cell among the members (any member where there is none) is positive."""
    count = len(own)
    member = cluster_of >= 0

    def number(mask: np.ndarray) -> np.ndarray:
        return np.bincount(cluster_of[member & mask], minlength=count)[:count]

    return np.where(number(tumour) > 0, number(tumour & own), number(own)) > 0


def _disagreement(columns: Columns, labels: LabelSchema, called: np.ndarray, met: np.ndarray) -> np.ndarray:
    """What the network says where it contradicts the definition, (N,) object array of str; '' where it does not."""
    count = len(called)
    if CONTAINS_CTC not in labels.rollups:
        return np.full(count, "", object)
    yes, no = met == True, met == False  # noqa: E712 (None is neither)
    label = np.asarray(columns["label"])
    unassigned = np.asarray(columns["unassigned"], bool)
    wrong = (called & no) | (~called & ~unassigned & yes)
    texts = []
    for name in labels.classes:
        finding = "does not meet" if name in labels.rollups[CONTAINS_CTC] else "meets"
        texts.append((wrong & (label == name), f"called {name}, but {finding} the written definition"))
    return joined(texts, count)


def _joined_texts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    both = (first != "") & (second != "")
    return np.where(both, first + ": " + second, first + second)


def _may_contain(columns: Columns) -> np.ndarray:
    unassigned = np.asarray(columns["unassigned"], bool)
    if "p_contains_ctc" not in columns:
        return np.zeros(len(unassigned), bool)
    return unassigned & (np.asarray(columns["p_contains_ctc"], np.float64) >= REVIEW_PROBABILITY)


def _set_holds_ctc(columns: Columns) -> np.ndarray:
    unassigned = np.asarray(columns["unassigned"], bool)
    if "set_holds_ctc" not in columns:
        return np.zeros(len(unassigned), bool)
    return unassigned & np.asarray(columns["set_holds_ctc"], bool)
