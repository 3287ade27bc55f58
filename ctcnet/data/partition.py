"""Which crops train, validate and test: by the manifest's column, by folds, by leaving one batch out, or drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctcnet.crops.folds import folds_from_file, folds_of_groups
from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.crops.splits import check_splits, split_groups
from ctcnet.errors import SplitError
from ctcnet.resources import resource_dir

PARTS: tuple[str, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class SplitSettings:
    """How groups are divided. Groups never straddle parts.

    Without `fold` and `leave_out` the manifest's column `split` counts where there is one, else groups are drawn.

    Attributes:
        val_fraction: share of crops for validation, where the split is drawn.
        test_fraction: share of crops kept for testing, where the split is drawn.
        seed: seed of the draw.
        folds: number of folds over groups, or a CSV file with the columns group and fold, or the name of a shipped one;
            used where `fold` is set.
        fold: the fold that is the test part; the other groups are divided into training and validation.
        leave_out: 'batch=VALUE', 'cartridge=VALUE' or 'group=VALUE': those crops are the test part.
    """

    val_fraction: float = 0.15
    test_fraction: float = 0.0
    seed: int = 0
    folds: int | str | None = None
    fold: int | None = None
    leave_out: str | None = None


def fold_numbers(crops: LabelledCrops, settings: SplitSettings, where: str | Path | None = None) -> np.ndarray:
    """Fold of each crop, int64 (N,); `where` is the manifest, for messages.

    Raises:
        SplitError: folds cannot be made, or the file does not name every group.
    """
    if settings.folds is None:
        raise SplitError("no folds are set", expected="split.folds: a number, a CSV file or a shipped name")
    if isinstance(settings.folds, int) or settings.folds.isdigit():
        return folds_of_groups(
            crops.group, crops.require_targets(), int(settings.folds), settings.seed, _classes(crops), where
        )
    shipped = resource_dir("configs") / "folds" / f"{settings.folds}.csv"
    return folds_from_file(shipped if shipped.is_file() else settings.folds, crops.group)


def _left_out(crops: LabelledCrops, settings: SplitSettings, where: str | Path | None) -> np.ndarray | None:
    """Crops that are the test part by request, bool (N,), or None where nothing is asked for."""
    if settings.leave_out is not None and settings.fold is not None:
        raise SplitError("both a fold and a batch are to be left out", fix="set split.fold or split.leave_out")
    if settings.fold is not None:
        numbers = fold_numbers(crops, settings, where)
        if settings.fold not in numbers:
            found = ", ".join(map(str, np.unique(numbers)))
            raise SplitError(f"there is no fold {settings.fold}", where="split.fold", expected=f"one of: {found}")
        return numbers == settings.fold
    if settings.leave_out is None:
        return None
    column, _, value = settings.leave_out.partition("=")
    if column not in ("batch", "cartridge", "group") or not value:
        raise SplitError(
            "leave_out is not understood",
            expected="batch=VALUE, cartridge=VALUE or group=VALUE",
            found=settings.leave_out,
        )
    values = getattr(crops, column)
    if value not in values:
        found = ", ".join(sorted(set(map(str, values)))[:20])
        raise SplitError(f"no crop has {column} '{value}'", where="split.leave_out", expected=f"one of: {found}")
    chosen = values == value
    straddling = set(crops.group[chosen]) & set(crops.group[~chosen])
    if straddling:
        raise SplitError(
            f"{len(straddling)} groups straddle {column} '{value}', such as '{min(straddling)}'",
            where="split.leave_out",
            fix="leave out a unit that groups do not straddle",
        )
    return chosen


def divide(crops: LabelledCrops, settings: SplitSettings, where: str | Path | None = None) -> np.ndarray:
    """Part of each crop: object (N,) of 'train', 'val' and 'test'; `where` is the manifest, for messages.

    Raises:
        SplitError: the groups cannot be divided as asked, or a class is absent from training; says why.
    """
    targets, classes = crops.require_targets(), _classes(crops)
    left_out = _left_out(crops, settings, where)
    if left_out is None and (crops.split != "").any():
        part = crops.split
    else:
        kept = np.ones(len(crops), dtype=bool) if left_out is None else ~left_out
        part = np.full(len(crops), "test", dtype=object)
        part[kept] = split_groups(
            crops.group[kept],
            targets[kept],
            val_fraction=settings.val_fraction,
            test_fraction=settings.test_fraction if left_out is None else 0.0,
            seed=settings.seed,
            class_names=classes,
            where=where,
        )
    check_splits(part, crops.group, targets, class_names=classes, required=("train",), where=where)
    return part


def _classes(crops: LabelledCrops) -> tuple[str, ...]:
    assert crops.schema is not None
    return crops.schema.classes


def part_table(crops: LabelledCrops, part: np.ndarray) -> dict[str, np.ndarray]:
    """Crops of each class in each part, weighted by readers' agreement: part -> float (K,)."""
    targets = crops.require_targets()
    return {name: targets[part == name].sum(axis=0) for name in PARTS}
