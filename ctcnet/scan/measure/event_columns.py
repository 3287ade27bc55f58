"""Columns of events as they come from the scan, read in one way by all who interpret them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ctcnet.labels import CONTAINS_CTC, LabelSchema

Columns = Mapping[str, np.ndarray]

LEUKOCYTE_CLASS = "leukocyte"
"""Name of the class of leukocytes; classes below it in the hierarchy count as leukocytes too."""


def event_count(columns: Columns) -> int:
    """Number of rows."""
    return len(columns["label"])


def is_kind(columns: Columns, kind: str) -> np.ndarray:
    """Rows of kind 'cell', 'object' or 'cluster', (N,) bool."""
    return np.asarray(columns["kind"]) == kind


def flagged(columns: Columns, flag: str) -> np.ndarray:
    """Rows with a flag, a column of bool such as 'saturated' or 'at_edge', (N,) bool; false where it is not there."""
    return np.asarray(columns.get(flag, np.zeros(event_count(columns), bool)), bool)


def in_classes(columns: Columns, classes: Sequence[str]) -> np.ndarray:
    """Rows called one of `classes` and not left unassigned, (N,) bool."""
    return np.isin(np.asarray(columns["label"]), list(classes)) & ~np.asarray(columns["unassigned"], bool)


def contains_ctc(columns: Columns, labels: LabelSchema) -> np.ndarray:
    """Rows called a class that contains a CTC, (N,) bool; all false for a schema without that roll-up."""
    return in_classes(columns, labels.rollups.get(CONTAINS_CTC, ()))


def leukocyte_classes(labels: LabelSchema) -> tuple[str, ...]:
    """Classes that are leukocytes: the one of that name and those below it."""

    def line(name: str) -> list[str]:
        names = [name]
        while names[-1] in labels.parents:
            names.append(labels.parents[names[-1]])
        return names

    return tuple(name for name in labels.classes if LEUKOCYTE_CLASS in line(name))


def joined(masks: Sequence[tuple[np.ndarray, str]], count: int, separator: str = "; ") -> np.ndarray:
    """Texts whose mask is true, joined in their order, (N,) object array of str; '' for none.

    Args:
        masks: at most 62 pairs of a mask (N,) bool and its text.
    """
    code = np.zeros(count, np.int64)
    for bit, (mask, _) in enumerate(masks):
        code |= mask.astype(np.int64) << bit
    codes, place = np.unique(code, return_inverse=True)
    texts = [separator.join(text for bit, (_, text) in enumerate(masks) if one >> bit & 1) for one in codes.tolist()]
    return np.array([*texts, ""], object)[:-1][place]
