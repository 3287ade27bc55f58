"""`events.geojson`: events as QuPath imports them.

QuPath takes a GeoJSON FeatureCollection; of each feature it reads `id` (a UUID), `geometry`, and of `properties`
objectType ('annotation' or 'detection'), name, classification {name, color}, measurements {name: number} and metadata
{name: text} (qupath-core, QuPathTypeAdapters, since version 0.4; metadata since 0.5). Coordinates are pixels of the
whole image with the origin at the upper left corner of the first pixel.
Measurements carry the names of their columns in `events.parquet`, which has more of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from pyarrow import compute as _compute
from pyarrow import parquet

from ctcnet.labels import CONTAINS_CTC, LabelSchema
from ctcnet.output import new_output_file
from ctcnet.scan.cartridge import Note
from ctcnet.scan.results.class_colours import UNASSIGNED, class_colours, rgb
from ctcnet.scan.results.event_table import BATCH_ROWS

compute: Any = _compute  # its functions are made when it is imported, so that no checker knows them

MOST_EVENTS = 100_000
"""Above this many events a viewer becomes slow, and plain ones are left out."""

_NAMESPACE = UUID("2f0f5f3e-3a0f-5a56-9b39-6d4f0b3d0c11").bytes
_CORNERS = 12
_MEASURED = ("p_contains_ctc", "diameter_um", "area_um2", "nucleus_diameter_um", "nucleus_area_um2", "circularity",
             "members", "tumour_nuclei", "atypicality")  # fmt: skip
_MEASURED_PER_MARKER = ("p_", "mean_", "snr_")
_TEXTS = ("kind", "frame", "event_id", "parent_id", "counted", "review_reason", "phenotype", "partners", "flags")


def write_geojson(
    table: Path, path: Path, schema: LabelSchema, pixel_size_um: float, *, overwrite: bool = False
) -> list[Note]:
    """Write the events of an `events.parquet` for QuPath, as circles of the event's diameter.

    Events that contain a CTC or are for review are annotations, which QuPath lists one by one; the others are
    detections. With more than `MOST_EVENTS` events the assigned ones of the most frequent class without a CTC
    (leukocytes, as a rule) are left out unless they are for review; with still more all that are neither called a CTC
    nor unassigned nor for review.

    Args:
        table: the events.
        path: file to write.
        schema: classes of the model.
        pixel_size_um: micrometres per pixel of the cartridge's images.
        overwrite: whether a file that stands there may be replaced.

    Returns:
        A note on what was left out; none where everything is there. The file says it too.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    left_out, notes = _left_out(table, schema)
    head = {
        "type": "FeatureCollection",
        "ctcnet": {
            "notice": "for research use only",
            "coordinates": "pixels of the whole cartridge, origin at the upper left corner of its first pixel",
            "pixel_size_um": pixel_size_um,
            "notes": [note.message for note in notes],
        },
    }
    with new_output_file(path, overwrite=overwrite) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(json.dumps(head)[:-1] + ', "features": [')
        between = "\n"
        for feature in _features(table, schema, pixel_size_um, left_out):
            stream.write(between + feature)
            between = ",\n"
        stream.write("\n]}\n")
    return notes


def _left_out(table: Path, schema: LabelSchema) -> tuple[frozenset[str], list[Note]]:
    """Classes whose plain events are left out, and the note that says so."""
    columns = parquet.read_table(table, columns=["label", "unassigned", "review"])
    total = len(columns)
    if total <= MOST_EVENTS:
        return frozenset(), []
    plain = ~(columns["unassigned"].to_numpy() | columns["review"].to_numpy())
    label = columns["label"].to_numpy(zero_copy_only=False)[plain]
    others = [name for name in schema.classes if name not in schema.rollups.get(CONTAINS_CTC, ())]
    numbers = {name: int((label == name).sum()) for name in others}
    chosen = [max(others, key=lambda name: numbers[name])] if others else []
    if chosen and total - numbers[chosen[0]] > MOST_EVENTS:
        chosen = others
    gone = sum(numbers[name] for name in chosen)
    message = (
        f"Of {total} events {gone} plain ones ({', '.join(chosen)}) are left out of events.geojson, which a viewer "
        f"could not hold; events.parquet has them all."
    )
    return frozenset(chosen), [Note("geojson_shortened", message)] if gone else []


def _features(table: Path, schema: LabelSchema, pixel_size_um: float, left_out: frozenset[str]) -> Iterator[str]:
    """Features as JSON texts."""
    classes = {name: json.dumps({"name": name, "color": rgb(hue)}) for name, hue in class_colours(schema).items()}
    ctc = list(schema.rollups.get(CONTAINS_CTC, ()))
    for batch in parquet.ParquetFile(table).iter_batches(batch_size=BATCH_ROWS):
        label, unassigned, review = (batch.column(name).to_numpy(False) for name in ("label", "unassigned", "review"))
        kept = np.flatnonzero(unassigned | review | ~np.isin(label, list(left_out)))
        name = np.where(unassigned, UNASSIGNED, label)[kept]
        kind = np.where(review[kept] | np.isin(name, ctc), "annotation", "detection")
        yield from _batch_features(batch.take(pa.array(kept)), name.tolist(), kind.tolist(), classes, pixel_size_um)


def _batch_features(
    batch: pa.RecordBatch, names: list[str], kinds: list[str], classes: Mapping[str, str], pixel_size_um: float
) -> Iterator[str]:
    """Features of a batch, built column by column: one dict per event takes longer than classifying it."""
    ids = zip(batch.column("cartridge").to_pylist(), batch.column("event_id").to_pylist(), strict=True)
    measured = _members(batch, _measurements(batch), _numbers)
    texts = _members(batch, _TEXTS, _texts)
    columns = zip(ids, names, kinds, _geometries(batch, pixel_size_um), measured, texts, strict=True)
    for (cartridge, event), name, kind, geometry, numbers, metadata in columns:
        yield (
            f'{{"type":"Feature","id":"{_uuid(f"{cartridge}/{event}")}","geometry":{geometry},'
            f'"properties":{{"objectType":"{kind}","name":"{name} {event}",'
            f'"classification":{classes[name]},"measurements":{{{numbers}}},"metadata":{{{metadata}}}}}}}'
        )


def _uuid(name: str) -> str:
    """UUID of a name, version 5 (RFC 9562, section 5.5), as the standard library's uuid5 makes it at a fifth of the
    pace."""
    text = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def _measurements(batch: pa.RecordBatch) -> list[str]:
    return [name for name in batch.schema.names if name in _MEASURED or name.startswith(_MEASURED_PER_MARKER)]


def _members(batch: pa.RecordBatch, names: Sequence[str], texts: Callable[[pa.Array], pa.Array]) -> list[str]:
    """Members of one JSON object per row, of those columns that have something to say; null says nothing.

    Texts are joined by Arrow, whole columns at a time.
    """
    parts = []
    for name in names:
        values = texts(batch.column(name))
        parts.append(compute.binary_join_element_wise(json.dumps(name), values, ":", null_handling="emit_null"))
    return compute.binary_join_element_wise(*parts, ",", null_handling="skip").to_pylist()


def _numbers(values: pa.Array) -> pa.Array:
    """Numbers as JSON with the fewest digits that give the same value, null where one is not finite."""
    if pa.types.is_floating(values.type):
        values = compute.if_else(compute.is_finite(values), values, pa.scalar(None, values.type))
    return values.cast(pa.string())


def _texts(values: pa.Array) -> pa.Array:
    """JSON strings; null where there is nothing to say. Numbers need no escaping; of other texts few differ."""
    if pa.types.is_integer(values.type):
        return compute.binary_join_element_wise('"', values.cast(pa.string()), '"', "")
    words = values.cast(pa.string()).dictionary_encode()
    quoted = [json.dumps(word) if word else None for word in words.dictionary.to_pylist()]
    return pa.array(quoted, pa.string()).take(words.indices)


def _geometries(batch: pa.RecordBatch, pixel_size_um: float) -> list[str]:
    """Circles as closed rings, points where there is no diameter; half a pixel leads from a centre to its corner."""
    x, y = (batch.column(name).to_numpy() / pixel_size_um + 0.5 for name in ("x_um", "y_um"))
    radius = batch.column("diameter_um").to_numpy(False).astype(np.float64) / (2 * pixel_size_um)
    angles = 2 * np.pi * (np.arange(_CORNERS + 1) % _CORNERS) / _CORNERS
    rings = np.stack([x, y], axis=1)[:, None] + radius[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    polygons = _joined('{"type":"Polygon","coordinates":[[', rings, "]]}")
    points = _joined('{"type":"Point","coordinates":', np.stack([x, y], axis=1)[:, None], "}")
    return compute.if_else(pa.array(radius > 0), polygons, points).to_pylist()


def _joined(before: str, positions: np.ndarray, after: str) -> pa.Array:
    """Positions (N, K, 2) as JSON texts of one decimal, joined by Arrow; values are formatted one by one in Python
    at a tenth of the pace."""
    parts: list[pa.Array | str] = []
    for corner in range(positions.shape[1]):
        x, y = (pa.array(np.round(positions[:, corner, axis], 1)).cast(pa.string()) for axis in (0, 1))
        parts += ["[" if corner == 0 else "],[", x, ",", y]
    return compute.binary_join_element_wise(before, *parts, "]" + after, "")
