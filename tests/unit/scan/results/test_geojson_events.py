"""Events for QuPath, read back by a reader of our own that takes what QuPath takes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from ctcnet.errors import OutputError
from ctcnet.labels import LabelSchema
from ctcnet.scan.results import geojson
from ctcnet.scan.results.geojson import write_geojson

pytestmark = pytest.mark.unit


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def read_as_qupath(path: Path) -> list[dict[str, Any]]:
    """Objects as QuPath's type adapters build them; fails on what they would not take."""
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    assert content["type"] == "FeatureCollection"
    objects = []
    for feature in content["features"]:
        assert feature["type"] == "Feature"
        geometry, properties = feature["geometry"], feature["properties"]
        assert properties["objectType"] in ("annotation", "detection")
        assert len(properties["classification"]["color"]) == 3
        assert all(type(value) is int and 0 <= value <= 255 for value in properties["classification"]["color"])
        assert all(type(value) in (int, float) for value in properties["measurements"].values())
        assert all(type(value) is str for value in properties["metadata"].values())
        if geometry["type"] == "Polygon":
            (ring,) = geometry["coordinates"]
            assert ring[0] == ring[-1]
            centre = np.mean(ring[:-1], axis=0)
            radius = float(np.linalg.norm(np.array(ring[0]) - centre))
        else:
            assert geometry["type"] == "Point"
            centre, radius = np.array(geometry["coordinates"]), math.nan
        objects.append({"uuid": UUID(feature["id"]), "centre": centre, "radius": radius, **properties})
    return objects


def test_round_trip(tmp_path: Path, write_events: Callable[..., Path], labels: LabelSchema) -> None:
    path = write_events()
    assert write_geojson(path, tmp_path / "events.geojson", labels, 0.64) == []
    table, objects = parquet.read_table(path).to_pylist(), read_as_qupath(tmp_path / "events.geojson")
    assert len(objects) == 100
    for row, entry in zip(table, objects, strict=True):
        name = "unassigned" if row["unassigned"] else row["label"]
        assert entry["classification"]["name"] == name
        assert entry["name"] == f"{name} {row['event_id']}"
        assert entry["objectType"] == ("annotation" if row["review"] or name == "ctc" else "detection")
        expected = np.array([row["x_um"], row["y_um"]]) / 0.64 + 0.5
        assert entry["centre"] == pytest.approx(expected, abs=0.1)
        assert entry["radius"] == pytest.approx(row["diameter_um"] / 2 / 0.64, abs=0.15)
        assert entry["measurements"]["p_ctc"] == pytest.approx(row["p_ctc"], rel=1e-5)
        assert entry["measurements"]["mean_CK"] == pytest.approx(row["mean_CK"], rel=1e-5)
        assert "atypicality" not in entry["measurements"]
        assert entry["metadata"]["frame"] == str(row["frame"])
        assert entry["metadata"].get("review_reason", "") == row["review_reason"]


def test_identifiers_are_unique_and_stay(tmp_path: Path, write_events: Callable[..., Path], labels: LabelSchema):
    for name in ("a", "b"):
        write_geojson(write_events(), tmp_path / f"{name}.geojson", labels, 0.64)
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()
    assert len({entry["uuid"] for entry in read_as_qupath(tmp_path / "a.geojson")}) == 100


def test_event_without_a_diameter_is_a_point(tmp_path: Path, write_events: Callable[..., Path], labels: LabelSchema):
    diameter = np.where(np.arange(100) < 2, np.nan, 8.0).astype(np.float32)
    write_geojson(write_events(diameter_um=diameter), tmp_path / "e.geojson", labels, 0.64)
    objects = read_as_qupath(tmp_path / "e.geojson")
    assert [math.isnan(entry["radius"]) for entry in objects[:3]] == [True, True, False]
    assert "diameter_um" not in objects[0]["measurements"]


def test_no_event(tmp_path: Path, write_events: Callable[..., Path], labels: LabelSchema) -> None:
    write_geojson(write_events(0), tmp_path / "e.geojson", labels, 0.64)
    assert read_as_qupath(tmp_path / "e.geojson") == []


def test_plain_leukocytes_are_left_out_of_too_many(
    tmp_path: Path, write_events: Callable[..., Path], labels: LabelSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson, "MOST_EVENTS", 60)
    path = write_events()
    (note,) = write_geojson(path, tmp_path / "e.geojson", labels, 0.64)
    kept = [
        r for r in parquet.read_table(path).to_pylist() if r["label"] != "leukocyte" or r["review"] or r["unassigned"]
    ]
    objects = read_as_qupath(tmp_path / "e.geojson")
    assert [entry["metadata"]["event_id"] for entry in objects] == [str(row["event_id"]) for row in kept]
    assert note.flag == "geojson_shortened"
    assert f"{100 - len(kept)} plain ones (leukocyte)" in note.message
    assert json.loads((tmp_path / "e.geojson").read_text())["ctcnet"]["notes"] == [note.message]


def test_all_plain_events_are_left_out_of_far_too_many(
    tmp_path: Path, write_events: Callable[..., Path], labels: LabelSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson, "MOST_EVENTS", 5)
    path = write_events()
    (note,) = write_geojson(path, tmp_path / "e.geojson", labels, 0.64)
    rows = parquet.read_table(path).to_pylist()
    kept = [row for row in rows if row["label"] == "ctc" or row["review"] or row["unassigned"]]
    assert len(read_as_qupath(tmp_path / "e.geojson")) == len(kept)
    assert "leukocyte, debris" in note.message


def test_file_that_stands_there_is_not_replaced(tmp_path: Path, write_events: Callable, labels: LabelSchema) -> None:
    (tmp_path / "e.geojson").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_geojson(write_events(), tmp_path / "e.geojson", labels, 0.64)
    assert (tmp_path / "e.geojson").read_text() == "mine"


@given(st.text())
def test_uuid_is_that_of_the_standard_library(name: str) -> None:
    assert geojson._uuid(name) == str(uuid5(UUID(bytes=geojson._NAMESPACE), name))
