"""The table of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from ctcnet.errors import OutputError
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ModelCard
from ctcnet.panel import Panel, load_panel
from ctcnet.scan.results import event_table
from ctcnet.scan.results.event_table import (
    event_metadata,
    event_rows,
    event_schema,
    event_table_writer,
    read_columns,
    take_rows,
    write_event_csv,
)

pytestmark = pytest.mark.unit


def test_columns_stand_in_the_order_agreed(labels: LabelSchema) -> None:
    names = event_schema(load_panel("sarcoma"), labels).names
    markers = load_panel("sarcoma").markers
    expected = ["cartridge", "frame", "event_id", "kind", "x_px", "y_px", "x_um", "y_um", "label"]
    expected += [f"p_{name}" for name in labels.classes]
    expected += ["p_contains_ctc", "entropy", "unassigned", "atypicality", "members", "parent_id", "counted"]
    expected += ["diameter_um", "area_um2", "nucleus_diameter_um", "nucleus_area_um2", "nucleus_count"]
    expected += ["nucleus_in_ck", "circularity"]
    for m in markers:
        expected += [f"mean_{m}", f"max_{m}", f"background_{m}", f"snr_{m}", f"positive_area_um2_{m}"]
    expected += [
        f"positive_{c.marker}"
        for c in load_panel("sarcoma").channels
        if c.role in ("epithelial", "mesenchymal", "target")
    ]
    expected += ["phenotype", "definition_met", "definition_reason", "review", "review_reason"]
    expected += ["partners", "tumour_nuclei", "flags"]
    assert names == expected


def test_types(panel: Panel, labels: LabelSchema) -> None:
    schema = event_schema(panel, labels)
    assert schema.field("frame").type == pa.int32()
    assert schema.field("event_id").type == pa.int64()
    assert schema.field("x_um").type == pa.float64()
    assert schema.field("mean_CK").type == pa.float32()
    assert schema.field("members").type == schema.field("tumour_nuclei").type == pa.int16()


@pytest.mark.parametrize("chosen", [[], [2, 0], [1], [2, 1, 0]])
def test_rows_are_taken_in_their_order(write_events: Callable[..., Path], monkeypatch, chosen: list[int]) -> None:
    path = write_events()
    monkeypatch.setattr(event_table, "BATCH_ROWS", 2)
    whole = parquet.read_table(path)
    assert len(whole) >= 3
    assert take_rows(path, np.array(chosen, dtype=np.int64)).equals(whole.take(pa.array(chosen, pa.int64())))


def test_columns_read_by_themselves_are_those_of_the_table(write_events: Callable[..., Path]) -> None:
    path = write_events(flags=np.array([None, "at_edge"] * 50, dtype=object))
    whole = parquet.read_table(path)
    read = read_columns(path, whole.column_names)
    assert list(read) == whole.column_names
    for name, values in read.items():
        expected = whole[name].to_numpy(zero_copy_only=False)
        assert values.dtype == expected.dtype, name
        np.testing.assert_array_equal(values, expected, err_msg=name)
    assert len({id(text) for text in read["label"]}) == 3


def test_columns_of_no_events_are_empty(write_events: Callable[..., Path]) -> None:
    read = read_columns(write_events(n=0), ["label", "x_um"])
    assert [len(values) for values in read.values()] == [0, 0]


def test_what_was_written_is_read_back(make_columns: Callable, write_events: Callable[..., Path]) -> None:
    table, columns = parquet.read_table(write_events()), make_columns()
    for name in ("x_px", "x_um", "mean_CD45", "label", "counted", "event_id"):
        assert np.array_equal(table[name].to_numpy(zero_copy_only=False), columns[name]), name
    assert table["definition_met"].to_pylist() == columns["definition_met"].tolist()


def test_what_cannot_be_said_is_null(write_events: Callable[..., Path]) -> None:
    table = parquet.read_table(write_events())
    assert table["atypicality"].null_count == 100
    assert table["parent_id"].to_pylist()[14] == 13
    assert table["parent_id"].null_count == 98


def test_parts_give_the_same_rows_as_one_and_the_same_bytes_each_time(
    tmp_path: Path, panel: Panel, labels: LabelSchema, make_columns: Callable, write_events: Callable[..., Path]
) -> None:
    schema, columns = event_schema(panel, labels), make_columns()
    for name in ("a.parquet", "b.parquet"):
        with event_table_writer(tmp_path / name, schema, {"notice": "made up"}) as writer:
            for start, stop in ((0, 7), (7, 7), (7, 100)):
                writer.write({key: values[start:stop] for key, values in columns.items()})
            assert writer.rows == 100
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert parquet.read_table(tmp_path / "a.parquet").equals(parquet.read_table(write_events()))


def test_many_rows_are_not_held(
    tmp_path: Path, panel: Panel, labels: LabelSchema, make_columns: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_table, "ROW_GROUP_ROWS", 40)
    path = tmp_path / "events.parquet"
    with event_table_writer(path, event_schema(panel, labels), {}) as writer:
        for _ in range(5):
            writer.write(make_columns(25))
    groups = parquet.ParquetFile(path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [50, 50, 25]
    assert groups.row_group(0).column(0).compression == "ZSTD"


def test_no_event_gives_a_table_without_rows(tmp_path: Path, panel: Panel, labels: LabelSchema) -> None:
    schema = event_schema(panel, labels)
    with event_table_writer(tmp_path / "events.parquet", schema, {}):
        pass
    write_event_csv(tmp_path / "events.parquet", tmp_path / "events.csv")
    assert parquet.read_table(tmp_path / "events.parquet").num_rows == 0
    assert (tmp_path / "events.csv").read_text().count("\n") == 1


def test_failure_leaves_nothing(tmp_path: Path, panel: Panel, labels: LabelSchema, make_columns: Callable) -> None:
    def fail() -> None:
        with event_table_writer(tmp_path / "events.parquet", event_schema(panel, labels), {}) as writer:
            writer.write(make_columns(5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_file_that_stands_there_is_not_replaced(write_events: Callable[..., Path], panel: Panel, labels: LabelSchema):
    path = write_events()
    with (
        pytest.raises(OutputError, match="exists already"),
        event_table_writer(path, event_schema(panel, labels), {}),
    ):
        pass


def test_metadata_says_where_rows_come_from(
    tmp_path: Path, panel: Panel, labels: LabelSchema, two_channel_card: ModelCard
) -> None:
    metadata = event_metadata("ab" * 32, two_channel_card, panel, {"z": 1, "a": 2})
    with event_table_writer(tmp_path / "events.parquet", event_schema(panel, labels), metadata):
        pass
    read = parquet.read_schema(tmp_path / "events.parquet").metadata
    assert read[b"model_sha256"] == b"ab" * 32
    assert read[b"notice"] == b"for research use only"
    assert json.loads(read[b"card"])["name"] == "two_channels"
    assert json.loads(read[b"panel"])["name"] == "three"
    assert json.loads(read[b"settings"]) == {"a": 2, "z": 1}
    assert b"software_version" in read


def test_csv_twin_has_the_same_values(tmp_path: Path, write_events: Callable[..., Path]) -> None:
    table = parquet.read_table(write_events())
    write_event_csv(tmp_path / "events.parquet", tmp_path / "events.csv")
    types = {field.name: field.type for field in table.schema}
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    read = csv.read_csv(tmp_path / "events.csv", convert_options=options)
    for name in table.column_names:
        assert read[name].to_pylist() == table[name].to_pylist(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("label"), "columns of its schema"),
        (lambda c: c.update(extra=c["label"]), "columns of its schema"),
        (lambda c: c.update(label=c["label"][:-1]), "different lengths"),
        (lambda c: c.update(x_um=np.where(np.arange(100) == 3, np.nan, c["x_um"])), "'x_um' has rows without"),
        (lambda c: c.update(members=np.full(100, "two", dtype=object)), "'members' does not fit"),
        (lambda c: c.update(members=np.full(100, 70_000)), "'members' does not fit"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    change: Callable, message: str, panel: Panel, labels: LabelSchema, make_columns: Callable
) -> None:
    columns = make_columns()
    change(columns)
    with pytest.raises(OutputError, match=message):
        event_rows(columns, event_schema(panel, labels))


def test_part_of_another_panel_is_refused(
    tmp_path: Path, panel: Panel, labels: LabelSchema, make_columns: Callable
) -> None:
    other = event_schema(load_panel("cellsearch4"), labels).empty_table()
    with (
        pytest.raises(OutputError, match="other columns"),
        event_table_writer(tmp_path / "events.parquet", event_schema(panel, labels), {}) as writer,
    ):
        writer.write(other)
