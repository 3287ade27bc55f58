"""Which crop shows which class of which patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ctcnet.errors import SettingError
from ctcnet.simulate.composition import CLASSES

MOST_GROUPS = 40
LEAST_GROUPS = 5
CROPS_PER_GROUP = 25
MOST_SCANNERS = 3
GROUPS_PER_SCANNER = 3


@dataclass(frozen=True)
class CropPlan:
    """Class and patient of each crop.

    Attributes:
        labels: (N,) int64, rows of `CLASSES`, in random order.
        groups: (N,) int64; every class is spread evenly over the groups.
        num_groups, scanners: how many patients and scanners there are.
    """

    labels: np.ndarray
    groups: np.ndarray
    num_groups: int
    scanners: int


def plan_crops(
    count: int, seed: int, groups: int | None = None, class_fractions: Mapping[str, float] | None = None
) -> CropPlan:
    """Divide `count` crops over classes and groups.

    Args:
        count: crops in all.
        seed: 0 or more.
        groups: patients; where None one per `CROPS_PER_GROUP` crops, `LEAST_GROUPS` to `MOST_GROUPS`.
        class_fractions: class name -> share (scaled to 1); equal shares where None; classes not named get none.

    Raises:
        SettingError: an argument is outside its range, or there are fewer crops than groups.
    """
    if seed < 0:
        raise SettingError("is negative", where="seed", expected="0 or more", found=str(seed))
    if groups is None:
        groups = min(count, max(LEAST_GROUPS, min(MOST_GROUPS, count // CROPS_PER_GROUP)))
    if not 1 <= groups <= count:
        raise SettingError(
            "crops cannot be divided among the groups",
            where="count",
            expected="at least one crop, and as many as groups",
            found=f"{count} crops, {groups} groups",
            fix="raise --count or lower --groups",
        )
    numbers = _class_numbers(count, _shares(class_fractions))
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CLASSES)), numbers)
    group_of = np.arange(count) % groups
    order = rng.permutation(count)
    scanners = max(1, min(MOST_SCANNERS, groups // GROUPS_PER_SCANNER))
    return CropPlan(labels[order], group_of[order], groups, scanners)


def _shares(class_fractions: Mapping[str, float] | None) -> np.ndarray:
    if class_fractions is None:
        return np.full(len(CLASSES), 1 / len(CLASSES))
    unknown = sorted(set(class_fractions) - set(CLASSES))
    shares = np.array([class_fractions.get(name, 0.0) for name in CLASSES], dtype=float)
    if unknown or not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
        raise SettingError(
            "cannot be used",
            where="class_fractions",
            expected=f"numbers of 0 or more, not all 0, for: {', '.join(CLASSES)}",
            found=str(dict(class_fractions)),
        )
    return shares / shares.sum()


def _class_numbers(count: int, shares: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to `count`, by largest remainder."""
    exact = shares * count
    numbers = np.floor(exact).astype(int)
    for index in np.argsort(numbers - exact, kind="stable")[: count - numbers.sum()]:
        numbers[index] += 1
    return numbers
