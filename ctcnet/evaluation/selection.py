"""Which crops a model may be judged on: those of groups it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctcnet.errors import StatisticsError
from ctcnet.model_card import ModelCard, hash_group


@dataclass(frozen=True)
class Selection:
    """Rows to evaluate.

    Attributes:
        rows: (n,) int.
        seen_groups_left_out: number of groups left out because the model saw them in training or validation.
        includes_seen_groups: whether such groups were kept, because that was asked for.
    """

    rows: np.ndarray
    seen_groups_left_out: int
    includes_seen_groups: bool


def select_rows(
    group: np.ndarray, split: np.ndarray, card: ModelCard, *, only_split: str, include_seen: bool
) -> Selection:
    """Rows of a split, without the groups that the model saw in training or validation.

    Args:
        group, split: (N,) object, "" where not stated.
        only_split: 'train', 'val', 'test' or "" for all.
        include_seen: keep the groups that the model saw; the result then says so.

    Raises:
        StatisticsError: nothing is left.
    """
    groups, splits = group.astype(str), split.astype(str)
    wanted = np.ones(len(groups), dtype=bool) if not only_split else splits == only_split
    if not wanted.any():
        raise StatisticsError(
            f"no crop is of the split '{only_split}'",
            found=", ".join(f"{name or '(not stated)'}: {(splits == name).sum()}" for name in sorted(set(splits))),
            fix="choose another --split, or leave it out",
        )
    known = set(card.training_data.group_hashes)
    seen_names = {name for name in set(groups[wanted]) if hash_group(name) in known}
    seen = np.isin(groups, sorted(seen_names)) if seen_names else np.zeros(len(groups), dtype=bool)
    kept = wanted if include_seen else wanted & ~seen
    if not kept.any():
        raise StatisticsError(
            f"nothing is left: the model saw every one of the {len(seen_names)} groups in training or validation",
            expected="crops of groups that the model never saw",
            fix="give other groups, or pass --include-seen for figures that are flagged as too good",
        )
    left_out = 0 if include_seen else len(seen_names)
    return Selection(np.flatnonzero(kept), left_out, include_seen and bool(seen_names))
