"""Manifests: columns, readers, paths, levels, splits, and what is wrong with them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.crops.finding import Finding
from ctcnet.crops.manifest import CropTable, parse_manifest
from ctcnet.crops.table_file import TextTable, read_table
from ctcnet.errors import ManifestError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Channel, Panel

pytestmark = pytest.mark.unit

Write = Callable[..., Path]


def parse(
    path: Path, panel: Panel, schema: LabelSchema | None = None, labelled: bool | None = True
) -> tuple[CropTable, list[Finding]]:
    findings: list[Finding] = []
    rows = parse_manifest(read_table(path), panel, schema, labelled, findings)
    assert rows is not None
    return rows, findings


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def test_least_manifest(write_manifest: Write, panel3: Panel) -> None:
    rows, findings = parse(write_manifest("path,label,group", "a.tif,b,p1", "", "c.tif, a ,p2"), panel3)
    assert not findings
    assert rows.schema is not None
    assert rows.schema.classes == ("a", "b")
    np.testing.assert_array_equal(rows.targets, [[0, 1], [1, 0]])
    assert rows.columns["group"].tolist() == ["p1", "p2"]
    assert rows.columns["weight"].tolist() == [1, 1]
    assert np.isnan(rows.columns["pixel_size_um"]).all()
    assert np.isnan(rows.columns["background"]).all()
    assert rows.columns["split"].tolist() == ["", ""]
    assert rows.where[1].endswith("line 4")


def test_csv_and_parquet_agree(write_manifest: Write, tmp_path: Path, panel3: Panel) -> None:
    header = "path,label,group,weight,pixel_size_um,x_note," + ",".join(
        f"{kind}_{marker}" for kind in ("background", "scale") for marker in ("dapi", "Ck", "CD45")
    )
    path = write_manifest(header, '"a,1.tif",a,1,0.5,0.25,n,1,2,3.5,10,20,30', "b.tif,b,2,,0.3,,,,,,,")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    table = pa.table(
        {
            "path": ["a,1.tif", "b.tif"],
            "label": pa.array(["a", "b"]).dictionary_encode(),
            "group": [1, 2],
            "weight": [0.5, None],
            "pixel_size_um": [0.25, 0.3],
            **{f"background_{m}": [b, None] for m, b in (("DAPI", 1.0), ("CK", 2.0), ("CD45", 3.5))},
            **{f"scale_{m}": [s, float("nan")] for m, s in (("DAPI", 10.0), ("CK", 20.0), ("CD45", 30.0))},
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    (first, none), (second, none_either) = parse(path, panel3), parse(tmp_path / "m.parquet", panel3)
    assert codes(none) == codes(none_either) == []
    for name, column in first.columns.items():
        np.testing.assert_array_equal(column, second.columns[name])
    np.testing.assert_array_equal(first.targets, second.targets)
    assert first.columns["background"][0].tolist() == [1, 2, 3.5]
    assert first.columns["scale"][0].tolist() == [10, 20, 30]
    assert np.isnan(first.columns["scale"][1]).all()


def test_readers_become_soft_targets(write_manifest: Write, panel3: Panel) -> None:
    path = write_manifest(
        "path,label,group,reader", "a.tif,x,g,1", "./a.tif,x,g,2", "b.tif,y,g,1", "a.tif,y,g,3", "b.tif,x,g,2"
    )
    rows, findings = parse(path, panel3)
    assert not findings
    np.testing.assert_allclose(rows.targets, [[2 / 3, 1 / 3], [0.5, 0.5]], rtol=1e-6)
    assert rows.columns["path"].tolist() == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("path,label,group", "a.tif,x,g", "a.tif,y,g"), "duplicate_row"),
        (("path,label,group,reader", "a.tif,x,g,1", "sub/../a.tif,y,g,1"), "duplicate_row"),
        (("path,label,group,reader", "a.tif,x,g,1", "a.tif,y,h,2"), "same_cell_in_two_groups"),
        (("path,label,group,reader,weight", "a.tif,x,g,1,1", "a.tif,y,g,2,2"), "readers_differ"),
        (("path,label", "a.tif,x", "b.tif,y"), "missing_column"),
        (("path,label,group,lable", "a.tif,x,g,1", "b.tif,y,g,1"), "unknown_column"),
        (("path,label,group,scale_CD61", "a.tif,x,g,1", "b.tif,y,g,1"), "unknown_column"),
        (("path,label,group", "a.tif,,g", "b.tif,y,g", "c.tif,x,g"), "missing_label"),
        (("path,label,group", "a.tif,x,", "b.tif,y,g"), "missing_group"),
        (("path,label,group", ",x,g", "b.tif,y,g"), "missing_path"),
        (("path,label,group", "a.tif,x,g", "b.tif,x,g"), "wrong_labels"),
        (("path,label,group", "a.tif,x,g", "b.tif,unassigned,g"), "wrong_labels"),
        (("path,label,group,weight", "a.tif,x,g,-1", "b.tif,y,g,1"), "wrong_value"),
        (("path,label,group,pixel_size_um", "a.tif,x,g,0", "b.tif,y,g,1"), "wrong_value"),
        (("path,label,group,pixel_size_um", 'a.tif,x,g,"0,5"', "b.tif,y,g,1"), "wrong_value"),
        (("path,label,group,weight", "a.tif,x,g,inf", "b.tif,y,g,1"), "wrong_value"),
        (("path,label,group,background_CK,scale_CK", "a.tif,x,g,1,1", "b.tif,y,g,,"), "incomplete_levels"),
        (("path,label,group,split", "a.tif,x,g,train", "b.tif,y,h,dev"), "wrong_split"),
        (("path,label,group,split", "a.tif,x,g,train", "b.tif,y,h,"), "wrong_split"),
        (("path,label,group,split", "a.tif,x,g,train", "b.tif,y,g,val"), "group_in_two_splits"),
    ],
)
def test_each_problem_is_found_once(write_manifest: Write, panel3: Panel, lines: tuple[str, ...], code: str) -> None:
    _, findings = parse(write_manifest(*lines), panel3)
    assert codes(findings) == [code]
    assert findings[0].severity == "error"
    assert "manifest.csv" in str(findings[0].error)


def test_label_outside_the_schema_names_line_and_choices(write_manifest: Write, panel3: Panel) -> None:
    path = write_manifest("path,label,group", "a.tif,x,g", "b.tif,Y,g", "c.tif,Y,h")
    _, findings = parse(path, panel3, LabelSchema("s", ("x", "y")))
    assert codes(findings) == ["label_outside_schema"]
    assert "line 3 (2 rows)" in str(findings[0].error)
    assert findings[0].error.expected == "one of: x, y"


def test_typo_gets_a_suggestion(write_manifest: Write, panel3: Panel) -> None:
    _, findings = parse(write_manifest("path,label,group,cartrige", "a.tif,x,g,1", "b.tif,y,g,1"), panel3)
    assert "'cartridge'" in str(findings[0].error.fix)


def test_labels_are_left_aside_for_classification(write_manifest: Write, panel3: Panel) -> None:
    path = write_manifest("path,label", "a.tif,q", "b.tif,")
    rows, findings = parse(path, panel3, LabelSchema("s", ("x", "y")), labelled=False)
    assert not findings
    assert rows.targets is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"path,label,group\n", "empty"),
        (b"path;label;group\na;b;c\n", "commas"),
        (b"path,label,path\na,b,c\n", "twice"),
        (b"path,label\na.tif\n", "another number of values"),
        (b"path,label\n\xff\xfe,x\n", "UTF-8"),
        (b'path,label\na.tif,y\n"b.tif,x\n', r"line 3: is no CSV that can be read \(unexpected end of data\)"),
    ],
)
def test_malformed_csv(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=problem) as caught:
        read_table(tmp_path / "m.csv")
    assert "m.csv" in str(caught.value.where)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_bytes(b"nothing")
    (tmp_path / "m.xlsx").write_bytes(b"nothing")
    for name, problem in (("m.parquet", "Parquet"), ("m.xlsx", "no manifest"), ("n.csv", "no such file")):
        with pytest.raises(ManifestError, match=problem):
            read_table(tmp_path / name)


_CELL = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)


@given(rows=st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=6))
@settings(max_examples=30)
def test_any_text_survives_csv(rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("csv") / "m.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("path", "label"), *rows])
    table = read_table(path)
    assert list(zip(table.columns["path"], table.columns["label"], strict=True)) == [
        (a.strip(), b.strip()) for a, b in rows
    ]


@given(
    votes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=40),
)
@settings(max_examples=30)
def test_targets_are_the_readers_mean(votes: list[tuple[int, int]]) -> None:
    schema = LabelSchema("s", ("a", "b", "c"))
    columns = {
        "path": [f"{crop}.tif" for crop, _ in votes],
        "label": [schema.classes[label] for _, label in votes],
        "group": ["g"] * len(votes),
        "reader": [str(number) for number in range(len(votes))],
    }
    findings: list[Finding] = []
    panel = Panel("one", (Channel("DAPI", "nucleus"),), 8)
    rows = parse_manifest(TextTable(Path("m.csv"), columns, list(range(len(votes)))), panel, schema, True, findings)
    assert not findings
    assert rows is not None
    assert rows.targets is not None
    for number, path in enumerate(rows.columns["path"]):
        own = np.array([label for crop, label in votes if f"{crop}.tif" == path])
        np.testing.assert_allclose(rows.targets[number], [(own == label).mean() for label in range(3)], rtol=1e-6)
