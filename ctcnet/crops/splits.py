"""Splits into train, val and test: a group never straddles, and rare classes are spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    where: str | Path | None = None,
) -> np.ndarray:
    """Divide groups into train, val and test so that each class is shared out as evenly as its groups allow.

    Args:
        group: object (N,), name of each row's group.
        targets: float32 (N, K), soft labels.
        val_fraction, test_fraction: shares of the rows, 0 or more, below 1 together; 0 leaves the split out.
        seed: of the order in which groups are dealt out; the result depends on nothing else.
        class_names, where: names of the classes, and the manifest, for messages.

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
    row_groups, names, counts = group_counts(group, targets, where)
    if len(names) < len(parts):
        raise SplitError(
            f"{len(names)} group(s) cannot be divided into {', '.join(parts)}",
            where=where,
            expected=f"at least {len(parts)} groups",
            found=", ".join(map(str, names)),
            fix="add groups, or ask for fewer splits",
        )
    part = best_division(counts, np.array([fractions[name] for name in parts]), seed)
    split = np.array(parts, dtype=object)[part][row_groups]
    if set(split) != set(parts) or "train" in absent_classes(split, targets[:, targets.sum(axis=0) > 0]):
        raise _cannot_be_divided(names, counts, parts, class_names, where)
    check_splits(split, group, targets, class_names=class_names, required=parts, where=where)
    return split


def check_splits(
    split: np.ndarray,
    group: np.ndarray,
    targets: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    required: Sequence[str] = ("train", "val"),
    where: str | Path | None = None,
) -> None:
    """Check a division, whether given or made.

    Args:
        split: object (N,), "train", "val" or "test".
        group: object (N,).
        targets: float32 (N, K).
        required: splits that must hold rows.
        class_names, where: names of the classes, and the manifest, for messages.

    Raises:
        SplitError: a group is in two splits, a required split is empty, or a class has no rows in train.
    """
    unknown = sorted(set(split) - set(SPLITS))
    if unknown:
        raise SplitError(
            "there are rows without a split, or with an unknown one",
            where=where,
            found=", ".join(map(repr, unknown)),
        )
    parts_of_group: dict[str, str] = {}
    for name, part in zip(group, split, strict=True):
        if parts_of_group.setdefault(name, part) != part:
            raise SplitError(
                f"group '{name}' is in two splits",
                where=where,
                found=f"{parts_of_group[name]} and {part}",
                fix="keep it in one",
            )
    empty = [part for part in required if not (split == part).any()]
    if empty:
        raise SplitError(f"no rows are in the split {', '.join(empty)}", where=where, fix="give some groups to it")
    absent = absent_classes(split, targets, class_names).get("train", [])
    if absent:
        raise SplitError(
            f"classes are absent from training: {', '.join(absent)}",
            where=where,
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


def _cannot_be_divided(
    names: np.ndarray,
    counts: np.ndarray,
    parts: Sequence[str],
    class_names: Sequence[str] | None,
    where: str | Path | None,
) -> SplitError:
    """The error for groups that no division leaves with every class in train and something in every split."""
    labels = class_names_or_numbers(class_names, counts)
    fewest = np.argsort((counts > 0).sum(axis=0), kind="stable")[:5]
    held = [f"'{labels[k]}' in {', '.join(repr(str(n)) for n in names[counts[:, k] > 0][:3])}" for k in fewest]
    return SplitError(
        f"the groups cannot be divided into {', '.join(parts)} with every class in train",
        where=where,
        expected="groups enough that train can hold every class while each other split has a group",
        found=f"{len(names)} groups; {'; '.join(held)}",
        fix="add groups with the classes named, or ask for fewer splits",
    )
