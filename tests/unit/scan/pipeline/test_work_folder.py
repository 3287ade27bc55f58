"""Finished units are there whole or not at all, and serve only the scan that made them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ctcnet.errors import OutputError
from ctcnet.scan.pipeline.work_folder import PLAN_FILE, WorkFolder, write_whole

pytestmark = pytest.mark.unit

PLAN = {"model_sha256": "ab", "frames": 3}


def test_a_unit_comes_back_as_it_was_kept(tmp_path):
    work = WorkFolder(tmp_path / "work", PLAN)
    table = pa.table({"x_px": np.arange(3, dtype=np.float32), "label": ["a", "b", "c"]})
    assert not work.has_unit(4)
    work.write_unit(4, table, [{"frame": 1}])
    assert WorkFolder(tmp_path / "work", PLAN).has_unit(4)
    found, records = work.read_unit(4)
    assert found.to_pydict() == table.to_pydict()
    assert records == [{"frame": 1}]
    assert work.read_columns(4, ["label"]).column_names == ["label"]


def test_notes(tmp_path):
    work = WorkFolder(tmp_path / "work", PLAN)
    assert work.read_note("levels") is None
    work.write_note("levels", {"a": 1})
    assert work.read_note("levels") == {"a": 1}


def test_another_plan_is_refused_and_says_what_differs(tmp_path):
    WorkFolder(tmp_path / "work", PLAN)
    with pytest.raises(OutputError, match="frames"):
        WorkFolder(tmp_path / "work", {**PLAN, "frames": 4})


def test_units_whose_plan_is_gone_are_made_again(tmp_path):
    work = WorkFolder(tmp_path / "work", PLAN)
    work.write_unit(0, pa.table({"x_px": [1.0]}), [])
    work.write_note("levels", {"a": 1})
    (tmp_path / "work" / PLAN_FILE).unlink()
    other = WorkFolder(tmp_path / "work", {**PLAN, "frames": 4})
    assert not other.has_unit(0)
    assert other.read_note("levels") is None


def test_a_damaged_plan_is_an_error(tmp_path):
    WorkFolder(tmp_path / "work", PLAN)
    (tmp_path / "work" / PLAN_FILE).write_text("{")
    with pytest.raises(OutputError, match="damaged"):
        WorkFolder(tmp_path / "work", PLAN)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        WorkFolder(tmp_path / "file" / "work", PLAN)


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_whole(tmp_path / "file.bin", b"content")
    assert list(tmp_path.iterdir()) == []


def test_remove(tmp_path):
    work = WorkFolder(tmp_path / "work", PLAN)
    work.remove()
    assert not (tmp_path / "work").exists()
