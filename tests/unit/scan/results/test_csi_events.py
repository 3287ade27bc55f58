"""Events for csi_images: as text, and read by the package itself where it is installed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from ctcnet.scan.results import csi_events
from ctcnet.scan.results.csi_events import write_csi_events

pytestmark = pytest.mark.unit


def read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_columns_are_those_that_csi_images_takes(tmp_path: Path, write_events: Callable[..., Path]) -> None:
    assert write_csi_events(write_events(), tmp_path / "e.csv", "slide A", first_frame=1) == []
    rows = read_rows(tmp_path / "e.csv")
    names = list(rows[0])
    assert names[:5] == ["slide_id", "tile", "roi", "x", "y"]
    assert all(name.startswith(("metadata_", "features_")) for name in names[5:])
    assert {"metadata_label", "metadata_event_id", "features_p_ctc", "features_mean_CK"} <= set(names)
    table = parquet.read_table(tmp_path / "events.parquet").to_pylist()
    for row, event in zip(rows, table, strict=True):
        assert (row["slide_id"], int(row["tile"]), row["roi"]) == ("slide A", event["frame"] - 1, "0")
        assert (int(row["x"]), int(row["y"])) == (round(event["x_px"]), round(event["y_px"]))


def test_text_does_not_depend_on_how_many_rows_are_read_at_once(
    tmp_path: Path, write_events: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = write_events()
    write_csi_events(events, tmp_path / "one.csv", "s", first_frame=1)
    monkeypatch.setattr(csi_events, "BATCH_ROWS", 7)
    write_csi_events(events, tmp_path / "many.csv", "s", first_frame=1)
    assert (tmp_path / "many.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_position_just_outside_the_frame_does_not_wrap_round(tmp_path: Path, write_events: Callable) -> None:
    x = np.full(100, -0.9, dtype=np.float32)
    write_csi_events(write_events(x_px=x), tmp_path / "e.csv", "s", first_frame=1)
    assert {row["x"] for row in read_rows(tmp_path / "e.csv")} == {"0"}


@pytest.mark.parametrize("name", ["0012", "NA", "nan", "1e5", "12.0", "True", ""])
def test_name_that_would_be_read_as_another_is_changed(tmp_path: Path, write_events: Callable, name: str) -> None:
    (note,) = write_csi_events(write_events(), tmp_path / "e.csv", name, first_frame=1)
    assert note.flag == "csi_slide_renamed"
    assert read_rows(tmp_path / "e.csv")[0]["slide_id"] == f"slide_{name}"


@pytest.mark.parametrize("name", ["A12", "231", "patient 7"])
def test_other_names_stay(tmp_path: Path, write_events: Callable, name: str) -> None:
    assert write_csi_events(write_events(), tmp_path / "e.csv", name, first_frame=1) == []


@pytest.mark.parametrize(("first", "frame"), [(2, 1), (0, 65_536)])
def test_frames_that_it_cannot_number_give_a_note_and_no_file(
    tmp_path: Path, write_events: Callable, first: int, frame: int
) -> None:
    frames = np.full(100, frame, dtype=np.int32)
    (note,) = write_csi_events(write_events(frame=frames), tmp_path / "e.csv", "s", first_frame=first)
    assert note.flag == "csi_events_not_written"
    assert not (tmp_path / "e.csv").exists()


def _load(path: Path) -> Any:
    reason = "csi_images is not installed (pip install csi_images==3.0.4)"
    return pytest.importorskip("csi_images.csi_events", reason=reason).EventArray.load_csv(str(path))


def test_round_trip_with_the_package(tmp_path: Path, write_events: Callable[..., Path]) -> None:
    write_csi_events(write_events(), tmp_path / "e.csv", "231", first_frame=1)
    events, table = _load(tmp_path / "e.csv"), parquet.read_table(tmp_path / "events.parquet")
    assert len(events) == 100
    assert set(events.info["slide_id"]) == {"231"}
    assert events.info["tile"].to_numpy().tolist() == [frame - 1 for frame in table["frame"].to_pylist()]
    assert np.array_equal(events.info["x"].to_numpy(), np.rint(table["x_px"].to_numpy()))
    assert events.metadata["label"].tolist() == table["label"].to_pylist()
    assert events.metadata["review"].tolist() == table["review"].to_pylist()
    assert events.metadata["x_um"].to_numpy() == pytest.approx(table["x_um"].to_numpy())
    for name in ("p_ctc", "mean_CK", "snr_CD45", "diameter_um"):
        assert np.array_equal(events.features[name].to_numpy(np.float32), table[name].to_numpy()), name


def test_package_writes_and_reads_it_again(tmp_path: Path, write_events: Callable[..., Path]) -> None:
    write_csi_events(write_events(), tmp_path / "e.csv", "s", first_frame=1)
    events = _load(tmp_path / "e.csv")
    events.save_csv(str(tmp_path / "again.csv"))
    assert _load(tmp_path / "again.csv") == events


def test_no_event_with_the_package(tmp_path: Path, write_events: Callable[..., Path]) -> None:
    write_csi_events(write_events(0), tmp_path / "e.csv", "s", first_frame=1)
    assert len(_load(tmp_path / "e.csv")) == 0
