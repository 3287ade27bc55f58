"""Splits and folds over groups."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.crops.folds import folds_from_file, folds_of_groups, read_fold_file
from ctcnet.crops.splits import absent_classes, check_splits, split_groups
from ctcnet.errors import ManifestError, SettingError, SplitError

pytestmark = pytest.mark.unit


def one_hot(labels: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[labels]


def crops(groups: int, per_group: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(seed).integers(0, classes, groups * per_group)
    names = np.array([f"g{number}" for number in range(groups) for _ in range(per_group)], dtype=object)
    return names, one_hot(labels.tolist(), classes)


@given(groups=st.integers(3, 12), per_group=st.integers(1, 9), classes=st.integers(2, 4), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_groups_stay_whole_and_train_has_every_class(groups: int, per_group: int, classes: int, seed: int) -> None:
    group, targets = crops(groups, per_group, classes, seed)
    targets = targets[:, targets.any(axis=0)]
    try:
        split = split_groups(group, targets, val_fraction=0.2, test_fraction=0.2, seed=seed)
    except SplitError:
        assert not any(train_holds_all(group, targets, left_out) for left_out in combinations(sorted(set(group)), 2))
        return
    assert set(split) == {"train", "val", "test"}
    for name in set(group):
        assert len(set(split[group == name])) == 1
    assert "train" not in absent_classes(split, targets)
    again = split_groups(group, targets, val_fraction=0.2, test_fraction=0.2, seed=seed)
    np.testing.assert_array_equal(split, again)


def train_holds_all(group: np.ndarray, targets: np.ndarray, left_out: tuple[str, ...]) -> bool:
    """Whether every class is left when one group is given to val and one to test."""
    return bool(targets[~np.isin(group.astype(str), left_out)].any(axis=0).all())


def test_shares_and_rare_classes_come_out_even() -> None:
    rng = np.random.default_rng(1)
    group = np.array([f"g{number}" for number in rng.integers(0, 30, 3000)], dtype=object)
    labels = np.where(rng.random(3000) < 0.01, 2, rng.integers(0, 2, 3000))
    targets = one_hot(labels.tolist(), 3)
    split = split_groups(group, targets, val_fraction=0.2, test_fraction=0.1, seed=0)
    for part, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        own = targets[split == part].sum(axis=0) / targets.sum(axis=0)
        np.testing.assert_allclose(own[:2], share, atol=0.03)
        np.testing.assert_allclose(own[2], share, atol=0.1)


def test_seed_changes_the_division_and_zero_is_a_seed() -> None:
    group, targets = crops(30, 5, 2)
    by_seed = {
        seed: tuple(split_groups(group, targets, val_fraction=0.3, test_fraction=0, seed=seed)) for seed in range(4)
    }
    assert len(set(by_seed.values())) > 1
    assert "test" not in by_seed[0]


def test_order_of_rows_does_not_matter() -> None:
    group, targets = crops(12, 4, 3)
    order = np.random.default_rng(0).permutation(len(group))
    split = split_groups(group, targets, val_fraction=0.2, test_fraction=0.2, seed=5)
    turned = split_groups(group[order], targets[order], val_fraction=0.2, test_fraction=0.2, seed=5)
    np.testing.assert_array_equal(split[order], turned)


def test_class_in_one_group_goes_to_train() -> None:
    group = np.array(["a", "b", "c", "d", "d"], dtype=object)
    targets = one_hot([0, 0, 0, 0, 1], 2)
    for seed in range(8):
        split = split_groups(group, targets, val_fraction=0.4, test_fraction=0.2, seed=seed, class_names=("x", "rare"))
        assert split[3] == "train"
        assert absent_classes(split, targets, ("x", "rare")) == {"val": ["rare"], "test": ["rare"]}


def test_splits_that_cannot_be_made_say_why() -> None:
    targets = one_hot([0, 1, 0], 2)
    with pytest.raises(SplitError, match=r"2 group\(s\) cannot be divided into train, val, test"):
        split_groups(np.array(["a", "b", "b"], object), targets, val_fraction=0.2, test_fraction=0.2, seed=0)
    with pytest.raises(SplitError, match="cannot be divided into train, val with every class") as caught:
        split_groups(
            np.array(["a", "b", "a"], object),
            targets,
            val_fraction=0.2,
            test_fraction=0,
            seed=0,
            class_names=("x", "y"),
        )
    assert "'x' in 'a'; 'y' in 'b'" in str(caught.value.found)
    with pytest.raises(SplitError, match="1 of 3 crops have no group"):
        split_groups(np.array(["a", "", "a"], object), targets, val_fraction=0.2, test_fraction=0, seed=0)
    with pytest.raises(SettingError):
        split_groups(np.array(["a", "b", "c"], object), targets, val_fraction=0.6, test_fraction=0.4, seed=0)


def test_given_splits_are_checked() -> None:
    group = np.array(["a", "b", "c"], dtype=object)
    targets = one_hot([0, 1, 1], 2)

    def check(*split: str) -> None:
        check_splits(np.array(split, dtype=object), group, targets, class_names=("x", "y"))

    with pytest.raises(SplitError, match="absent from training: y"):
        check("train", "val", "val")
    with pytest.raises(SplitError, match="no rows are in the split val"):
        check("train", "train", "test")
    with pytest.raises(SplitError, match="without a split"):
        check("train", "train", "")
    check("train", "train", "val")
    with pytest.raises(SplitError, match="'a' is in two splits"):
        check_splits(np.array(["train", "val"], object), np.array(["a", "a"], object), targets[:2])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folds_are_even(seed: int) -> None:
    group, targets = crops(23, 6, 3)
    fold = folds_of_groups(group, targets, 5, seed)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    for name in set(group):
        assert len(set(fold[group == name])) == 1
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 6
    np.testing.assert_array_equal(fold, folds_of_groups(group, targets, 5, seed))


def test_folds_that_cannot_be_made() -> None:
    group = np.array(["a", "b", "c"], dtype=object)
    targets = one_hot([0, 0, 1], 2)
    with pytest.raises(SplitError, match="class 'y' has all its crops in fold"):
        folds_of_groups(group, targets, 2, 0, ("x", "y"))
    with pytest.raises(SplitError, match="3 groups cannot make 4 folds"):
        folds_of_groups(group, targets, 4, 0)
    with pytest.raises(SettingError):
        folds_of_groups(group, targets, 1, 0)


def test_fold_file(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest("group,fold", "a,0", "b,1", "a,0")
    assert read_fold_file(path) == {"a": 0, "b": 1}
    assert folds_from_file(path, np.array(["b", "a", "b"], object)).tolist() == [1, 0, 1]
    with pytest.raises(SplitError, match="1 groups have no fold"):
        folds_from_file(path, np.array(["b", "z"], object))
    with pytest.raises(SplitError, match="two folds"):
        read_fold_file(write_manifest("group,fold", "a,0", "a,1"))
    with pytest.raises(ManifestError, match="holds no fold"):
        read_fold_file(write_manifest("group,fold", "a,x"))
    with pytest.raises(ManifestError, match="no fold file"):
        read_fold_file(write_manifest("patient,fold", "a,0"))
