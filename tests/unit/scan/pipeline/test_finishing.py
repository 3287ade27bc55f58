"""Results are made from the units one after the other: their memory is not that of the whole table."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from ctcnet.model_card import ModelCard
from ctcnet.panel import load_panel
from ctcnet.scan.cartridge import Cartridge, Frame
from ctcnet.scan.event_kinds import CELL, CLUSTER
from ctcnet.scan.pipeline.finishing import EVENTS_FILE, EventWriter, FinishInput
from ctcnet.scan.pipeline.frame_stream import PLACES_PER_UNIT
from ctcnet.scan.pipeline.territory import Territories
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.scan.results import event_table
from ctcnet.scan.results.event_table import event_schema, read_columns

pytestmark = pytest.mark.unit

SIDE_PX = 1000
ROWS_PER_UNIT = 1_000
MOST_BYTES_PER_EVENT = 250
"""What one event more may add to the peak: twice what its place, its members and its thresholds' columns take. All of
its columns take three times as much."""


def unit_table(card: ModelCard, first_frame: int, random: np.random.Generator) -> pa.Table:
    """Events of a unit as a scan keeps them: cells, every hundredth row a cluster of the two rows after it."""
    panel, rows = load_panel("cellsearch4"), np.arange(ROWS_PER_UNIT)
    schema = event_schema(panel, card.labels)
    measured = [name for name in schema.names if schema.field(name).type == pa.float32() and name[:2] != "p_"]
    columns = {name: random.uniform(1, 100, ROWS_PER_UNIT).astype(np.float32) for name in measured}
    owner = first_frame + rows * PLACES_PER_UNIT // ROWS_PER_UNIT
    columns |= {
        "x_px": random.uniform(0, SIDE_PX, ROWS_PER_UNIT).astype(np.float32),
        "y_px": random.uniform(0, SIDE_PX, ROWS_PER_UNIT).astype(np.float32),
        "owner": owner.astype(np.int32),
        "canvas": owner.astype(np.int32),
        "diameter_um": random.uniform(8, 12, ROWS_PER_UNIT).astype(np.float32),
        "depth_px": np.full(ROWS_PER_UNIT, 50, np.float32),
        "kind": np.where(rows % 100 == 0, CLUSTER, CELL).astype(np.uint8),
        "members": np.where(rows % 100 == 0, 2, 1).astype(np.int16),
        "parent": np.where(np.isin(rows % 100, (1, 2)), rows // 100 * 100, -1).astype(np.int32),
        "nucleus_count": np.ones(ROWS_PER_UNIT, np.int16),
        "unassigned": rows % 40 == 5,
        **dict.fromkeys(("at_edge", "at_border", "saturated", "unregistered", "crowded"), rows % 50 == 7),
    }
    probabilities = random.dirichlet(np.ones(len(card.labels.classes)), ROWS_PER_UNIT).astype(np.float32)
    columns |= {f"p{k}": probabilities[:, k] for k in range(len(card.labels.classes))}
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def finish_input(folder: Path, card: ModelCard, units: int) -> FinishInput:
    """A cartridge of one row of frames whose units are all finished."""
    step_um = SIDE_PX * 0.64
    frames = tuple(Frame(k + 1, 0, k, k * step_um, 0.0) for k in range(units * PLACES_PER_UNIT))
    cartridge = Cartridge(
        "made up", Path("made up"), "folder", "folder", load_panel("cellsearch4"), 0.64, SIDE_PX, SIDE_PX, frames, (),
        lambda index: np.zeros(0),
    )  # fmt: skip
    work, random = WorkFolder(folder / "work", {}), np.random.default_rng(units)
    for unit in range(units):
        table = unit_table(card, unit * PLACES_PER_UNIT, random)
        work.write_unit(unit, table, [{"frame": frame.number} for frame in frames[unit * PLACES_PER_UNIT :][:4]])
    detection = SimpleNamespace(member_distance_um=2.0)
    analyser = SimpleNamespace(
        territories=Territories(cartridge, 20.0), platform=SimpleNamespace(detection=detection), cartridge=cartridge
    )
    finish = SimpleNamespace(
        cartridge=cartridge, card=card, reference=None, plan={}, analyser=analyser, work=work, folder=folder,
        settings=SimpleNamespace(model_sha256="0" * 64, csv=False),
    )  # fmt: skip
    return cast(FinishInput, finish)


def peak_bytes(finish: FinishInput) -> int:
    """Most memory in the hands of Python and numpy while the results are written and some of their columns read."""
    tracemalloc.start()
    try:
        EventWriter(finish).write()
        read_columns(finish.folder / EVENTS_FILE, ["label", "kind", "phenotype", "partners", "x_um", "mean_CK"])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_table(tmp_path: Path, two_channel_card: ModelCard, monkeypatch):
    monkeypatch.setattr(event_table, "ROW_GROUP_ROWS", ROWS_PER_UNIT)
    finishes = [finish_input(tmp_path / str(units), two_channel_card, units) for units in (2, 4, 40)]
    peak_bytes(finishes[0])  # what is made once, such as imports
    small, large = (peak_bytes(finish) for finish in finishes[1:])
    assert parquet.read_metadata(tmp_path / "40" / EVENTS_FILE).num_rows > 39 * ROWS_PER_UNIT
    assert large - small < MOST_BYTES_PER_EVENT * 36 * ROWS_PER_UNIT
