"""Folds over groups: made, or read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctcnet.crops.group_division import best_division, class_names_or_numbers, group_counts
from ctcnet.crops.table_file import read_table
from ctcnet.errors import ManifestError, SettingError, SplitError


def folds_of_groups(
    group: np.ndarray,
    targets: np.ndarray,
    folds: int,
    seed: int,
    class_names: Sequence[str] | None = None,
    where: str | Path | None = None,
) -> np.ndarray:
    """Divide groups into folds of equal size with the classes spread evenly.

    Args:
        group, targets, class_names, where: as in `split_groups`.
        folds: number of folds, 2 or more.
        seed: as in `split_groups`.

    Returns:
        int64 (N,), the fold of each row, 0 to folds - 1.

    Raises:
        SettingError: fewer than two folds.
        SplitError: fewer groups than folds, or a class all of whose groups are in one fold, so that it would be absent
            from training when that fold is left out.
    """
    if folds < 2:
        raise SettingError("too few folds", expected="2 or more", found=str(folds))
    row_groups, names, counts = group_counts(group, targets, where)
    if len(names) < folds:
        raise SplitError(f"{len(names)} groups cannot make {folds} folds", where=where, fix="ask for fewer folds")
    fold = best_division(counts, np.full(folds, 1 / folds), seed)[row_groups]
    check_folds(fold, targets, class_names, where)
    return fold


def check_folds(
    fold: np.ndarray,
    targets: np.ndarray,
    class_names: Sequence[str] | None = None,
    where: str | Path | None = None,
) -> None:
    """Raise SplitError when a class has rows in one fold only; arguments as in `split_groups`."""
    names = class_names_or_numbers(class_names, targets)
    for number, name in enumerate(names):
        present = np.unique(fold[targets[:, number] > 0])
        if len(present) == 1:
            raise SplitError(
                f"class '{name}' has all its crops in fold {present[0]}, so that it is absent from training there",
                where=where,
                expected="crops of at least two groups, in two folds",
                fix="add groups with this class, or use another seed",
            )


def read_fold_file(path: str | Path) -> dict[str, int]:
    """Read a CSV with the columns group and fold (whole numbers from 0): group -> fold.

    Raises:
        ManifestError: columns are missing or hold no folds.
        SplitError: a group stands twice with different folds.
    """
    table = read_table(Path(path))
    if not {"group", "fold"} <= set(table.columns):
        raise ManifestError("is no fold file", where=path, expected="the columns group, fold")
    fold_of_group: dict[str, int] = {}
    for row, (name, text) in enumerate(zip(table.columns["group"], table.columns["fold"], strict=True)):
        if not (text.isascii() and text.isdigit()):
            raise ManifestError("holds no fold", where=table.where(row), expected="0, 1, 2, ...", found=text)
        if fold_of_group.setdefault(name, int(text)) != int(text):
            raise SplitError(f"group '{name}' is in two folds", where=table.where(row))
    return fold_of_group


def folds_from_file(path: str | Path, group: np.ndarray) -> np.ndarray:
    """Fold of each row after a fold file, int64 (N,).

    Raises:
        SplitError: a group at hand is not in the file; see also `read_fold_file`.
    """
    fold_of_group = read_fold_file(path)
    missing = sorted(set(group) - set(fold_of_group))
    if missing:
        raise SplitError(
            f"{len(missing)} groups have no fold", where=path, found=", ".join(missing[:10]), fix="add them to the file"
        )
    return np.array([fold_of_group[name] for name in group], dtype=np.int64)
