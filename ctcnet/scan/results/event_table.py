"""The table of events: its columns, and how it is written in parts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from ctcnet import __version__
from ctcnet.errors import OutputError
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ModelCard
from ctcnet.output import new_output_file
from ctcnet.panel import Panel

ROW_GROUP_ROWS = 50_000
"""Rows of a row group at least, where there are as many: few enough to be held in memory."""

BATCH_ROWS = 5_000
"""Rows that are read and turned into other texts at once."""

CALLED_ROLES: tuple[str, ...] = ("epithelial", "mesenchymal", "target")
"""Roles of the markers that are called positive or negative."""

_PLACE = (
    ("cartridge", pa.string()),
    ("frame", pa.int32()),
    ("event_id", pa.int64()),
    ("kind", pa.string()),
    ("x_px", pa.float32()),
    ("y_px", pa.float32()),
    ("x_um", pa.float64()),
    ("y_um", pa.float64()),
    ("label", pa.string()),
)
_ANSWER = (
    ("p_contains_ctc", pa.float32()),
    ("entropy", pa.float32()),
    ("unassigned", pa.bool_()),
    ("atypicality", pa.float32()),
    ("members", pa.int16()),
    ("parent_id", pa.int64()),
    ("counted", pa.bool_()),
    ("diameter_um", pa.float32()),
    ("area_um2", pa.float32()),
    ("nucleus_diameter_um", pa.float32()),
    ("nucleus_area_um2", pa.float32()),
    ("nucleus_count", pa.int16()),
    ("nucleus_in_ck", pa.float32()),
    ("circularity", pa.float32()),
)
_MARKER = ("mean", "max", "background", "snr", "positive_area_um2")
_MEANING = (
    ("phenotype", pa.string()),
    ("definition_met", pa.bool_()),
    ("definition_reason", pa.string()),
    ("review", pa.bool_()),
    ("review_reason", pa.string()),
    ("partners", pa.string()),
    ("tumour_nuclei", pa.int16()),
    ("flags", pa.string()),
)
_REQUIRED = frozenset(
    ("cartridge", "frame", "event_id", "kind", "x_px", "y_px", "x_um", "y_um", "label", "unassigned", "counted",
     "review")
)  # fmt: skip


def event_schema(panel: Panel, labels: LabelSchema) -> pa.Schema:
    """Columns of `events.parquet`, in their order.

    Positions are in pixels of the frame and um of the cartridge; means, maxima and backgrounds in camera counts, mean
    and maximum above the local background. Null stands for what cannot be said.

    Args:
        panel: channels of the cartridge; each gives mean_, max_, background_, snr_ and positive_area_um2_<marker>,
            those of `CALLED_ROLES` also positive_<marker>.
        labels: classes of the model; each gives p_<class>. They add up to 1; a class that the panel cannot tell
            (`ModelCard.folded`) has 0, and its probability is in that of what it is called.
    """
    fields = [*_PLACE, *((f"p_{name}", pa.float32()) for name in labels.classes), *_ANSWER]
    fields += [(f"{figure}_{marker}", pa.float32()) for marker in panel.markers for figure in _MARKER]
    fields += [(f"positive_{c.marker}", pa.bool_()) for c in panel.channels if c.role in CALLED_ROLES]
    return pa.schema([pa.field(name, kind, name not in _REQUIRED) for name, kind in (*fields, *_MEANING)])


def event_metadata(
    model_sha256: str, card: ModelCard, panel: Panel, settings: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """What `events.parquet` says about where its rows come from: texts, mappings as JSON."""
    return {
        "notice": "for research use only",
        "model_sha256": model_sha256,
        "model_name": card.name,
        "card": json.dumps(card.to_dict()),
        "panel": json.dumps(panel.to_dict()),
        "software_version": __version__,
        "settings": json.dumps(dict(settings or {}), sort_keys=True),
    }


def event_rows(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Table of events from arrays.

    Args:
        columns: one array (N,) per column of the schema, in any order. None, and NaN in a column of floats, become
            null, as does a negative parent_id.
        schema: from `event_schema`.

    Raises:
        OutputError: columns are missing, unknown or of different lengths, or hold values that do not fit or a null
            where none is allowed.
    """
    missing, unknown = sorted(set(schema.names) - set(columns)), sorted(set(columns) - set(schema.names))
    if missing or unknown:
        raise OutputError(
            "does not have the columns of its schema",
            where="table of events",
            expected=f"also {', '.join(missing)}" if missing else "no others",
            found=f"also {', '.join(unknown)}" if unknown else "none of these",
        )
    arrays = [_array(columns[field.name], field) for field in schema]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise OutputError("has columns of different lengths", where="table of events", found=str(sorted(lengths)))
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Any, field: pa.Field) -> pa.Array:
    if field.name == "parent_id" and isinstance(values, np.ndarray) and values.dtype.kind == "i":
        values = pa.array(values, field.type, mask=values < 0)
    try:
        array = pa.array(values, field.type, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as cause:
        raise OutputError(f"column '{field.name}' does not fit ({cause})", where="table of events") from cause
    if array.null_count and not field.nullable:
        raise OutputError(f"column '{field.name}' has rows without a value", where="table of events")
    return array


class EventTableWriter:
    """Writes events in parts; see `event_table_writer`."""

    def __init__(self, writer: parquet.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def write(self, events: Mapping[str, Any] | pa.Table) -> None:
        """Add events, as columns for `event_rows` or as a table of the schema."""
        table = event_rows(events, self._schema) if isinstance(events, Mapping) else events
        if not table.schema.equals(self._schema):
            raise OutputError("part has other columns", where="table of events", expected="those of the first part")
        self._waiting.append(table)
        self.rows += len(table)
        if sum(map(len, self._waiting)) >= ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait as one row group."""
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        if len(table):
            self._writer.write_table(table, row_group_size=len(table))
        self._waiting = []


@contextmanager
def event_table_writer(
    path: Path, schema: pa.Schema, metadata: Mapping[str, str], *, overwrite: bool = False
) -> Iterator[EventTableWriter]:
    """Open `events.parquet` for writing in parts; it is there, whole, when the context ends without an error.

    Args:
        path: file to write.
        schema: from `event_schema`.
        metadata: from `event_metadata`.
        overwrite: whether a file that stands there may be replaced.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    content = {key.encode(): value.encode() for key, value in metadata.items()}
    with (
        new_output_file(path, overwrite=overwrite) as part,
        parquet.ParquetWriter(part, schema.with_metadata(content), compression="zstd") as file,
    ):
        writer = EventTableWriter(file, schema)
        yield writer
        writer.flush()


def write_event_csv(table: Path, path: Path, *, overwrite: bool = False) -> None:
    """Write the CSV twin of an `events.parquet`: the same columns and rows; null is an empty field.

    Floats are written with the fewest digits that give the same value when read back.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    source = parquet.ParquetFile(table)
    schema = source.schema_arrow.remove_metadata()
    with (
        new_output_file(path, overwrite=overwrite) as part,
        csv.CSVWriter(part, schema, write_options=csv.WriteOptions(quoting_style="needed")) as writer,
    ):
        for batch in source.iter_batches(batch_size=BATCH_ROWS):
            writer.write_batch(batch.replace_schema_metadata(None))


def read_columns(table: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of an `events.parquet`, read one after the other: arrays (N,), texts as objects of which equal ones are
    one and the same, so that a row takes 8 bytes of them; None is what is null in a column of texts or booleans.

    Args:
        table: the events.
        names: of the columns.
    """
    return {name: _column(table, name) for name in names}


def _column(table: Path, name: str) -> np.ndarray:
    read = parquet.read_table(table, columns=[name], read_dictionary=[name])[name]
    if not pa.types.is_dictionary(read.type):
        return read.to_numpy(zero_copy_only=False)
    parts = [
        np.array([*chunk.dictionary.to_pylist(), None], dtype=object)[chunk.indices.fill_null(-1).to_numpy()]
        for chunk in read.chunks
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=object)


def take_rows(table: Path, rows: np.ndarray) -> pa.Table:
    """Rows of an `events.parquet` in the order given, a part of the file at a time, so that no more has to be held.

    Args:
        table: the events.
        rows: (N,) row numbers in the file, each at most once.
    """
    source = parquet.ParquetFile(table)
    ordered, start, parts = np.sort(rows), 0, []
    for batch in source.iter_batches(batch_size=BATCH_ROWS):
        first, last = np.searchsorted(ordered, (start, start + len(batch)))
        parts.append(batch.take(pa.array(ordered[first:last] - start)))
        start += len(batch)
    return pa.Table.from_batches(parts, source.schema_arrow).take(np.argsort(np.argsort(rows)))
