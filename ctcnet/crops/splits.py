"""Splits into train, val and test: a group never straddles, and rare classes are spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctcnet.crops.group_division import best_division, class_names_or_numbers, group_counts
from ctcnet.crops.manifest import SPLITS
from ctcnet.errors import SettingError, SplitError


def split_groups(
    group: np.ndarray,
    targets: np.ndarray,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Divide groups into train, val and test so that each class is shared out as evenly as its groups allow.

    Args:
        group: object (N,), name of each row's group.
        targets: float32 (N, K), soft labels.
        val_fraction, test_fraction: shares of the rows, 0 or more, below 1 together; 0 leaves the split out.
        seed: of the order in which groups are dealt out; the result depends on nothing else.
        class_names: for messages.

    Returns:
        object (N,), "train", "val" or "test". A class may be absent from val or test, see `absent_classes`.

    Raises:
        SettingError: a fraction is out of its range.
        SplitError: a row has no group, there are fewer groups than splits, or a split would be left empty or a class
            absent from train; says why.
    """
    fractions = {"train": 1 - val_fraction - test_fraction, "val": val_fraction, "test": test_fraction}
    if min(fractions.values()) < 0 or fractions["train"] <= 0:
        raise SettingError(
            "the shares of the splits are impossible",
            expected="val_fraction and test_fraction of 0 or more, below 1 together",
            found=f"{val_fraction}, {test_fraction}",
        )
    parts = [name for name in SPLITS if fractions[name] > 0]
    row_groups, names, counts = group_counts(group, targets)
    if len(names) < len(parts):
        raise SplitError(
            f"{len(names)} group(s) cannot be divided into {', '.join(parts)}",
            expected=f"at least {len(parts)} groups",
            found=", ".join(map(str, names)),
            fix="add groups, or ask for fewer splits",
        )
    pinned = ((counts > 0) & ((counts > 0).sum(axis=0) == 1)).any(axis=1)
    if len(parts) > 1 and (~pinned).sum() < len(parts) - 1:
        raise _too_many_pinned(names, counts, pinned, parts, class_names)
    part = best_division(counts, np.array([fractions[name] for name in parts]), seed, pinned)
    split = np.array(parts, dtype=object)[part][row_groups]
    check_splits(split, group, targets, class_names=class_names, required=parts)
    return split


def check_splits(
    split: np.ndarray,
    group: np.ndarray,
    targets: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    required: Sequence[str] = ("train", "val"),
) -> None:
    """Check a division, whether given or made.

    Args:
        split: object (N,), "train", "val" or "test".
        group: object (N,).
        targets: float32 (N, K).
        required: splits that must hold rows.

    Raises:
        SplitError: a group is in two splits, a required split is empty, or a class has no rows in train.
    """
    unknown = sorted(set(split) - set(SPLITS))
    if unknown:
        raise SplitError("there are rows without a split, or with an unknown one", found=", ".join(map(repr, unknown)))
    parts_of_group: dict[str, str] = {}
    for name, part in zip(group, split, strict=True):
        if parts_of_group.setdefault(name, part) != part:
            raise SplitError(
                f"group '{name}' is in two splits", found=f"{parts_of_group[name]} and {part}", fix="keep it in one"
            )
    empty = [part for part in required if not (split == part).any()]
    if empty:
        raise SplitError(f"no rows are in the split {', '.join(empty)}", fix="give some groups to it")
    absent = absent_classes(split, targets, class_names).get("train", [])
    if absent:
        raise SplitError(
            f"classes are absent from training: {', '.join(absent)}",
            expected="every class of the schema in at least one training group",
            fix="add crops of these classes to train, or use a schema without them",
        )


def absent_classes(
    split: np.ndarray, targets: np.ndarray, class_names: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Names of the classes without rows in each split that has rows: {"val": ["telophase"]}; {} where none lack."""
    names = class_names_or_numbers(class_names, targets)
    absent: dict[str, list[str]] = {}
    for part in SPLITS:
        rows = split == part
        if rows.any():
            missing = np.flatnonzero(targets[rows].sum(axis=0) == 0)
            if len(missing):
                absent[part] = [names[number] for number in missing]
    return absent


def _too_many_pinned(
    names: np.ndarray,
    counts: np.ndarray,
    pinned: np.ndarray,
    parts: Sequence[str],
    class_names: Sequence[str] | None,
) -> SplitError:
    labels = class_names_or_numbers(class_names, counts)
    alone = [
        f"'{labels[number]}' in '{names[np.flatnonzero(counts[:, number])[0]]}'"
        for number in np.flatnonzero((counts > 0).sum(axis=0) == 1)
    ]
    return SplitError(
        f"classes with all their crops in one group leave no groups for {', '.join(parts[1:])}",
        expected="every class in at least two groups",
        found=f"{'; '.join(alone)}; {int((~pinned).sum())} other group(s)",
        fix="add groups with these classes, or ask for fewer splits",
    )
