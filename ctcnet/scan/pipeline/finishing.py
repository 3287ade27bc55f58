"""From finished units to the results of a cartridge, a unit at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ctcnet.errors import CartridgeError
from ctcnet.model_card import ModelCard
from ctcnet.runtime.cartridge_atypicality import CartridgeReference, CartridgeScore
from ctcnet.runtime.conformal import ctc_classes, holds_ctc, prediction_sets
from ctcnet.runtime.frame_predictor import KIND_NAMES
from ctcnet.runtime.predictions import entropy_nats
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.measure.interpretation import interpret
from ctcnet.scan.measure.references import LeukocyteReference, leukocyte_reference, reference_columns
from ctcnet.scan.pipeline.cartridge_score import EMBEDDING_COLUMN, score_cartridge
from ctcnet.scan.pipeline.frame_analysis import FrameAnalyser
from ctcnet.scan.pipeline.frame_stream import units_of
from ctcnet.scan.pipeline.kept_crops import CROP_COLUMN
from ctcnet.scan.pipeline.resolution import FoundEvents, Resolution, resolve_events
from ctcnet.scan.pipeline.settings import ScanSettings
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.scan.results.event_table import event_metadata, event_schema, event_table_writer, write_event_csv

EVENTS_FILE = "events.parquet"
MOST_REFERENCE_EVENTS = 400_000
"""Events that the leukocytes' distributions are taken from; of more, every n-th unit, so that memory is bounded."""


@dataclass(frozen=True)
class FinishInput:
    """Everything that the results of a cartridge are made from.

    Attributes:
        cartridge, card, settings, plan: see there.
        reference: what the leukocytes of cartridges that the model knows are like; None where it does not say.
        levels: as the journal has them.
        levels_source: 'cartridge', 'model' or 'per_crop'.
        notes: what was noted while the levels were chosen.
        analyser, channels: to cut crops of the gallery that the journal lacks.
        work: the finished units.
        folder: where results go.
    """

    cartridge: Cartridge
    card: ModelCard
    reference: CartridgeReference | None
    settings: ScanSettings
    plan: dict[str, Any]
    levels: dict[str, Any]
    levels_source: str
    notes: tuple[Note, ...]
    analyser: FrameAnalyser
    channels: list[int]
    work: WorkFolder
    folder: Path


@dataclass(frozen=True)
class WrittenEvents:
    """What is known once `events.parquet` is written.

    Attributes:
        records: what was recorded of each frame, in the order of the units.
        reference: the cartridge's own leukocytes.
        score: how unusual the cartridge is; None where the model has nothing to compare it with.
        sizes: events of each unit.
        kept: (sum of sizes,) bool, those that are events of the cartridge; the n-th of them has event_id n.
    """

    records: list[dict[str, Any]]
    reference: LeukocyteReference
    score: CartridgeScore | None
    sizes: list[int]
    kept: np.ndarray


class EventWriter:
    """Writes `events.parquet` of a cartridge from its units.

    Args:
        finish: see `FinishInput`.
    """

    def __init__(self, finish: FinishInput) -> None:
        self._finish = finish
        self._labels = finish.card.labels
        self._ctc_mask = ctc_classes(self._labels)

    def write(self) -> WrittenEvents:
        """Resolve, interpret and write all events.

        Raises:
            CartridgeError: no frame could be read, so that nothing was looked at.
        """
        finish = self._finish
        units = range(len(units_of(finish.analyser.territories)))
        records: list[dict[str, Any]] = []
        sizes = []
        for unit in units:
            table, frames = finish.work.read_unit(unit)
            records += frames
            sizes.append(len(table))
        _check_any_read(records, finish.cartridge)
        resolution = self._resolve(sizes)
        reference = self._reference(sizes, resolution)
        schema = event_schema(finish.cartridge.panel, self._labels)
        metadata = event_metadata(finish.settings.model_sha256, finish.card, finish.cartridge.panel, finish.plan)
        path = finish.folder / EVENTS_FILE
        with event_table_writer(path, schema, metadata, overwrite=True) as writer:
            for columns in self._final_columns(sizes, resolution, reference):
                writer.write({name: columns[name] for name in schema.names})
        if finish.settings.csv:
            write_event_csv(path, path.with_suffix(".csv"), overwrite=True)
        return WrittenEvents(records, reference, self._score(len(units)), sizes, resolution.kept)

    def _score(self, units: int) -> CartridgeScore | None:
        reference = self._finish.reference
        return None if reference is None else score_cartridge(self._finish.work, units, reference, self._labels)

    def _resolve(self, sizes: list[int]) -> Resolution:
        names = ["x_px", "y_px", "owner", "canvas", "depth_px", "kind", "parent", "diameter_um", "unassigned"]
        names += [f"p{k}" for k in range(len(self._labels.classes))]
        parts, start = [], 0
        for unit, size in enumerate(sizes):
            if size:
                parts.append(self._found(_arrays(self._finish.work.read_columns(unit, names)), start))
            start += size
        if not parts:
            none = np.zeros(0, dtype=bool)
            return Resolution(none, np.zeros(0, np.int64), none, np.zeros(0, np.int16))
        gap_um = self._finish.analyser.platform.detection.member_distance_um
        return resolve_events(FoundEvents(**_joined(parts)), gap_um)

    def _found(self, columns: dict[str, np.ndarray], start: int) -> dict[str, np.ndarray]:
        """Arrays of `FoundEvents` of a unit whose first row is the cartridge's row `start`."""
        x_um, y_um = self._positions(columns)
        probabilities, parent = self._probabilities(columns), columns["parent"].astype(np.int64)
        return {
            "x_um": x_um,
            "y_um": y_um,
            "canvas": columns["canvas"],
            "depth_px": columns["depth_px"],
            "kind": columns["kind"],
            "parent": np.where(parent >= 0, parent + start, -1),
            "diameter_um": columns["diameter_um"].astype(np.float64),
            "p_contains_ctc": probabilities[:, self._ctc_mask].sum(axis=1, dtype=np.float64),
            "is_ctc": self._ctc_mask[probabilities.argmax(axis=1)],
            "unassigned": columns["unassigned"].astype(bool),
        }

    def _positions(self, columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        cartridge = self._finish.cartridge
        first_x = np.array([frame.x_um for frame in cartridge.frames])
        first_y = np.array([frame.y_um for frame in cartridge.frames])
        owner = columns["owner"]
        x_um = first_x[owner] + columns["x_px"].astype(np.float64) * cartridge.pixel_size_um
        return x_um, first_y[owner] + columns["y_px"].astype(np.float64) * cartridge.pixel_size_um

    def _probabilities(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.stack([columns[f"p{k}"] for k in range(len(self._labels.classes))], axis=1)

    def _reference(self, sizes: list[int], resolution: Resolution) -> LeukocyteReference:
        step = max(1, -(-sum(sizes) // MOST_REFERENCE_EVENTS))
        panel = self._finish.cartridge.panel
        names = reference_columns(panel)
        units = enumerate(self._kept_units(sizes, resolution))
        parts = [{name: columns[name] for name in names} for n, (_, columns) in units if n % step == 0]
        return leukocyte_reference(_joined(parts), panel, self._labels) if parts else LeukocyteReference(0, {})

    def _kept_units(self, sizes: list[int], resolution: Resolution) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Columns of the rows kept of each unit that has any, with label, places and parents (rows of the unit)."""
        start, first_id = 0, 1
        for unit, size in enumerate(sizes):
            rows = np.flatnonzero(resolution.kept[start : start + size])
            if len(rows):
                table, _ = self._finish.work.read_unit(unit)
                yield unit, self._described(_arrays(table), rows, resolution, start, first_id)
            start, first_id = start + size, first_id + len(rows)

    def _described(
        self, columns: dict[str, np.ndarray], rows: np.ndarray, resolution: Resolution, start: int, first_id: int
    ) -> dict[str, np.ndarray]:
        finish = self._finish
        place = np.full(len(columns["x_px"]) + 1, -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        parent = resolution.parent[start + rows]
        kept = {name: values[rows] for name, values in columns.items()}
        own = place[np.where(parent >= 0, parent - start, -1)]
        kept["parent"] = own
        kept["event_id"] = np.arange(first_id, first_id + len(rows), dtype=np.int64)
        kept["parent_id"] = np.where(own >= 0, own + first_id, -1)
        kept["counted"] = resolution.counted[start + rows]
        merged = resolution.members[start + rows]
        kept["members"] = np.where(merged > 0, merged, kept["members"]).astype(np.int16)
        kept["x_um"], kept["y_um"] = self._positions(kept)
        probabilities = self._probabilities(kept)
        classes = np.array(self._labels.classes, dtype=object)
        kept["label"] = classes[probabilities.argmax(axis=1)]
        kept |= {f"p_{name}": probabilities[:, k] for k, name in enumerate(self._labels.classes)}
        kept["p_contains_ctc"] = (
            probabilities[:, self._ctc_mask].sum(axis=1)
            if self._ctc_mask.any()
            else np.full(len(rows), np.nan, np.float32)
        )
        sets = prediction_sets(probabilities, finish.card)
        if sets is not None:
            kept["set_holds_ctc"] = holds_ctc(sets, self._labels)
        kept["entropy"] = entropy_nats(probabilities)
        kept["kind"] = np.array(KIND_NAMES, dtype=object)[kept["kind"]]
        kept["cartridge"] = np.full(len(rows), finish.cartridge.name, dtype=object)
        numbers = np.array([frame.number for frame in finish.cartridge.frames], dtype=np.int32)
        kept["frame"] = numbers[kept["owner"]]
        kept["flags"] = _flags(kept)
        return kept

    def _final_columns(
        self, sizes: list[int], resolution: Resolution, reference: LeukocyteReference
    ) -> Iterator[dict[str, np.ndarray]]:
        for _, columns in self._kept_units(sizes, resolution):
            yield columns | interpret(columns, reference, self._finish.cartridge.panel, self._labels)


def _arrays(table: pa.Table) -> dict[str, np.ndarray]:
    names = [name for name in table.column_names if name not in (EMBEDDING_COLUMN, CROP_COLUMN)]
    return {name: table[name].to_numpy(zero_copy_only=False) for name in names}


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Columns of all parts, at least one, which are emptied, so that each column is held twice for a moment only."""
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in tuple(parts[0])}


def _flags(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Flags of each event as words joined by ';'."""
    words = [name for name in ("at_edge", "at_border", "saturated", "unregistered", "crowded") if name in columns]
    found = np.stack([columns[name].astype(bool) for name in words])
    flags = np.full(found.shape[1], "", dtype=object)
    for row in np.flatnonzero(found.any(axis=0)):
        flags[row] = ";".join(word for word, there in zip(words, found[:, row], strict=True) if there)
    return flags


def _check_any_read(records: list[dict[str, Any]], cartridge: Cartridge) -> None:
    """Raise CartridgeError where every frame is unreadable: a count of 0 would say that none has a cell."""
    reasons = [record["unreadable"] for record in records if "unreadable" in record]
    if reasons and len(reasons) == len(records):
        raise CartridgeError(
            "holds no frame that can be read",
            where=cartridge.path,
            found=f"{len(reasons)} frames, for example " + "; ".join(map(str.strip, reasons[0].splitlines())),
            fix="see to what is said of that frame, then scan again",
        )
