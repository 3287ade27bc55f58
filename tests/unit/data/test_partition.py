from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.data.partition import SplitSettings, divide, part_table
from ctcnet.errors import SplitError
from ctcnet.labels import LabelSchema
from ctcnet.panel import load_panel

pytestmark = pytest.mark.unit


def labelled() -> LabelledCrops:
    count = 120
    blank = np.full(count, "", dtype=object)
    group = np.array([f"g{number // 3 % 10}" for number in range(count)], dtype=object)
    batch = np.array([f"b{int(name[1:]) % 2}" for name in group], dtype=object)
    return LabelledCrops(
        panel=load_panel("ctc5"),
        schema=LabelSchema("three", ("a", "b", "c")),
        path=np.array([f"{number}.tif" for number in range(count)], dtype=object),
        targets=np.eye(3, dtype=np.float32)[np.arange(count) % 3],
        group=group,
        cartridge=blank,
        batch=batch,
        split=blank,
        weight=np.ones(count, np.float32),
        pixel_size_um=np.full(count, 0.64),
        background=np.full((count, 5), np.nan, np.float32),
        scale=np.full((count, 5), np.nan, np.float32),
        source=None,  # pyright: ignore
        source_rows=np.arange(count),
    )


def assert_groups_apart(crops: LabelledCrops, part: np.ndarray) -> None:
    for group in set(crops.group):
        assert len(set(part[crops.group == group])) == 1


def test_drawn_parts() -> None:
    crops = labelled()
    part = divide(crops, SplitSettings(val_fraction=0.2, test_fraction=0.2))
    assert_groups_apart(crops, part)
    table = part_table(crops, part)
    assert {name: counts.tolist() for name, counts in table.items()} == {
        "train": [24, 24, 24],
        "val": [8, 8, 8],
        "test": [8, 8, 8],
    }


def test_folds_cover_all_once() -> None:
    crops = labelled()
    parts = [divide(crops, SplitSettings(folds=5, fold=fold)) for fold in range(5)]
    assert (np.sum([part == "test" for part in parts], axis=0) == 1).all()
    for part in parts:
        assert_groups_apart(crops, part)
        assert (part == "val").any()
    with pytest.raises(SplitError, match="no fold 5"):
        divide(crops, SplitSettings(folds=5, fold=5))


def test_folds_from_a_file(tmp_path) -> None:
    file = tmp_path / "folds.csv"
    file.write_text("group,fold\n" + "\n".join(f"g{n},{n % 2}" for n in range(10)) + "\n")
    part = divide(labelled(), SplitSettings(folds=str(file), fold=1))
    assert set(labelled().group[part == "test"]) == {"g1", "g3", "g5", "g7", "g9"}


def test_leave_one_batch_out() -> None:
    crops = labelled()
    part = divide(crops, SplitSettings(leave_out="batch=b1"))
    assert ((part == "test") == (crops.batch == "b1")).all()
    with pytest.raises(SplitError, match="b0, b1"):
        divide(crops, SplitSettings(leave_out="batch=b2"))
    with pytest.raises(SplitError, match="not understood"):
        divide(crops, SplitSettings(leave_out="weather=wet"))
    with pytest.raises(SplitError, match="straddle"):
        divide(replace(crops, batch=np.array(["b0", "b1"] * 60, dtype=object)), SplitSettings(leave_out="batch=b1"))


def test_the_manifest_column_wins() -> None:
    crops = labelled()
    column = np.where(crops.group == "g0", "val", "train").astype(object)
    assert (divide(replace(crops, split=column), SplitSettings()) == column).all()
    with pytest.raises(SplitError, match="two splits"):
        divide(replace(crops, split=np.array(["train", "val"] * 60, dtype=object)), SplitSettings())


def test_class_absent_from_training() -> None:
    crops = labelled()
    only_g0 = crops.require_targets().copy()
    only_g0[crops.group != "g0"] = [1, 0, 0]
    column = np.where(crops.group == "g0", "val", "train").astype(object)
    with pytest.raises(SplitError, match=r"^m\.csv: .*b, c"):
        divide(replace(crops, split=column, targets=only_g0), SplitSettings(), "m.csv")


@pytest.mark.parametrize(
    ("groups", "settings", "problem"),
    [
        (["a", "b"], SplitSettings(test_fraction=0.2), r"2 group\(s\) cannot be divided"),
        (["a", "b", "c"], SplitSettings(), "cannot be divided into train, val with every class"),
        (["a", ""], SplitSettings(), "60 of 120 crops have no group"),
        (["a", "b"], SplitSettings(folds=3, fold=0), "cannot make 3 folds"),
        (["a", "b", "c"], SplitSettings(folds=2, fold=0), "has all its crops in fold"),
    ],
)
def test_groups_that_cannot_be_divided_name_the_manifest(
    groups: list[str], settings: SplitSettings, problem: str
) -> None:
    crops = labelled()
    column = np.array(groups, dtype=object)[np.arange(len(crops)) % len(groups)]  # of three, each holds one class
    with pytest.raises(SplitError, match=rf"^m\.csv: .*{problem}"):
        divide(replace(crops, group=column), settings, "m.csv")
