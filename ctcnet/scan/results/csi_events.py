"""`csi_events.csv`: events as the package csi_images reads them (`EventArray.load_csv`, version 3.0.4).

That table has the columns slide_id, tile, roi, x, y (whole numbers: the tile counted from 0 as it was scanned, the
position in pixels of the tile), then any that start with 'metadata_' or 'features_'.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from ctcnet.output import new_output_file
from ctcnet.scan.cartridge import Note
from ctcnet.scan.results.event_table import BATCH_ROWS

MOST = 65_535
"""Largest tile number and position that csi_images holds; it wraps larger ones round without a word."""

_METADATA = ("event_id", "kind", "label", "unassigned", "review", "review_reason", "counted", "parent_id", "phenotype",
             "definition_met", "definition_reason", "partners", "flags", "x_um", "y_um")  # fmt: skip
_INFO = ("cartridge", "frame", "x_px", "y_px")
_NAMES_LOST = frozenset(("", "na", "n/a", "nan", "null", "none", "<na>", "#n/a", "#na", "true", "false"))


def write_csi_events(
    table: Path, path: Path, cartridge: str, *, first_frame: int = 0, roi: int = 0, overwrite: bool = False
) -> list[Note]:
    """Write the events of an `events.parquet` for csi_images.

    Args:
        table: the events.
        path: file to write.
        cartridge: name of the cartridge: the slide.
        first_frame: number that the scanner gives its first frame; it becomes tile 0.
        roi: region of interest on the slide.
        overwrite: whether a file that stands there may be replaced.

    Returns:
        Notes: the slide's name had to be changed, or the file was not written because csi_images cannot hold the
        frames' numbers.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    source = parquet.ParquetFile(table)
    slide, notes = _slide_name(cartridge)
    tiles = parquet.read_table(table, columns=["frame"])["frame"].to_numpy() - first_frame
    if len(tiles) and (tiles.min() < 0 or tiles.max() > MOST):
        message = (
            f"csi_events.csv was not written: it holds tiles 0 to {MOST}, these are {tiles.min()} to {tiles.max()}."
        )
        return [Note("csi_events_not_written", message)]
    schema = _csi_schema(source.schema_arrow)
    with (
        new_output_file(path, overwrite=overwrite) as part,
        csv.CSVWriter(part, schema, write_options=csv.WriteOptions(quoting_style="needed")) as writer,
    ):
        for batch in source.iter_batches(batch_size=BATCH_ROWS):
            writer.write_batch(_csi_batch(batch, schema, slide, first_frame, roi))
    return notes


def _csi_schema(schema: pa.Schema) -> pa.Schema:
    info = [("slide_id", pa.string()), *((name, pa.int64()) for name in ("tile", "roi", "x", "y"))]
    metadata = [(f"metadata_{name}", schema.field(name).type) for name in _METADATA]
    features = [(f"features_{field.name}", field.type) for field in schema if field.name not in (*_INFO, *_METADATA)]
    return pa.schema([*info, *metadata, *features])


def _csi_batch(batch: pa.RecordBatch, schema: pa.Schema, slide: str, first_frame: int, roi: int) -> pa.RecordBatch:
    rows = len(batch)
    columns: list[object] = [
        np.full(rows, slide, dtype=object),
        batch.column("frame").to_numpy() - first_frame,
        np.full(rows, roi),
        *(np.clip(np.rint(batch.column(name).to_numpy()), 0, MOST) for name in ("x_px", "y_px")),
    ]
    columns += [batch.column(name.split("_", 1)[1]) for name in schema.names[len(columns) :]]
    arrays = [pa.array(values).cast(field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _slide_name(cartridge: str) -> tuple[str, list[Note]]:
    """A name that csi_images reads back as it stands: it takes '0012' for 12, and 'NA' for no name at all."""
    if cartridge.casefold() not in _NAMES_LOST and not _changes_as_number(cartridge):
        return cartridge, []
    slide = f"slide_{cartridge}"
    message = f"csi_events.csv names the slide '{slide}', because csi_images would not read '{cartridge}' as it stands."
    return slide, [Note("csi_slide_renamed", message)]


def _changes_as_number(name: str) -> bool:
    """Whether a reader that takes numbers where it can would write another text for them."""
    try:
        float(name)
    except ValueError:
        return False
    return not (name.isascii() and name.isdigit() and str(int(name)) == name and len(name) <= 18)
