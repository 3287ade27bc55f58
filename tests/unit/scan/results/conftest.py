"""A small made-up table of events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctcnet.labels import LabelSchema, load_schema
from ctcnet.panel import Channel, Panel
from ctcnet.scan.results.event_table import event_schema, event_table_writer

Columns = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def panel() -> Panel:
    """Three channels, one of each kind of call."""
    channels = (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte"))
    return Panel("three", channels, 12, 0.64)


@pytest.fixture(scope="session")
def labels() -> LabelSchema:
    """The default classes."""
    return load_schema("five_class")


@pytest.fixture(scope="session")
def make_columns(panel: Panel, labels: LabelSchema) -> Callable[..., Columns]:
    """Columns of n made-up events; every tenth is a CTC, every 25th for review, every 40th unassigned."""

    def make(n: int = 100, seed: int = 0) -> Columns:
        random = np.random.default_rng(seed)
        index = np.arange(n)
        label = np.where(index % 10 == 3, "ctc", np.where(index % 10 == 7, "debris", "leukocyte")).astype(object)
        review, unassigned = index % 25 == 4, index % 40 == 5
        columns: Columns = {
            "cartridge": np.full(n, "made up", dtype=object),
            "frame": (index // 30 + 1).astype(np.int32),
            "event_id": index.astype(np.int64),
            "kind": np.where(index % 50 == 13, "cluster", "cell").astype(object),
            "x_px": random.uniform(0, 1383, n).astype(np.float32),
            "y_px": random.uniform(0, 1035, n).astype(np.float32),
            "label": label,
            "entropy": random.random(n).astype(np.float32),
            "unassigned": unassigned,
            "atypicality": np.full(n, np.nan, dtype=np.float32),
            "members": np.where(index % 50 == 13, 2, 1).astype(np.int16),
            "parent_id": np.where(index % 50 == 14, index - 1, -1),
            "counted": index % 50 != 14,
            "nucleus_count": np.ones(n, dtype=np.int16),
            "phenotype": np.where(label == "ctc", "epithelial", "").astype(object),
            "definition_met": np.array([None if i % 9 == 0 else bool(i % 2) for i in index], dtype=object),
            "definition_reason": np.full(n, "", dtype=object),
            "review": review,
            "review_reason": np.where(review, 'CK+ and CD45+ "at once", <odd>', "").astype(object),
            "partners": np.full(n, "", dtype=object),
            "tumour_nuclei": (label == "ctc").astype(np.int16),
            "flags": np.where(index % 33 == 1, "at_edge;saturated", "").astype(object),
        }
        columns["x_um"], columns["y_um"] = columns["x_px"] * 0.64 + 885.0, columns["y_px"].astype(float) * 0.64
        for name in labels.classes:
            columns[f"p_{name}"] = np.where(label == name, 0.9, 0.025).astype(np.float32)
        columns["p_contains_ctc"] = np.where(label == "ctc", 0.95, 0.075).astype(np.float32)
        for name in ("diameter_um", "area_um2", "nucleus_diameter_um", "nucleus_area_um2", "nucleus_in_ck"):
            columns[name] = random.uniform(0.2, 12, n).astype(np.float32)
        columns["circularity"] = random.uniform(0.5, 1, n).astype(np.float32)
        for marker in panel.markers:
            for figure in ("mean", "max", "background", "snr", "positive_area_um2"):
                columns[f"{figure}_{marker}"] = random.uniform(1, 500, n).astype(np.float32)
        columns["positive_CK"] = label == "ctc"
        return columns

    return make


@pytest.fixture
def write_events(
    tmp_path: Path, panel: Panel, labels: LabelSchema, make_columns: Callable[..., Columns]
) -> Callable[..., Path]:
    """Writes made-up events, with columns replaced as named."""

    def write(n: int = 100, name: str = "events.parquet", **replaced: np.ndarray) -> Path:
        path = tmp_path / name
        with event_table_writer(path, event_schema(panel, labels), {"notice": "made up"}, overwrite=True) as writer:
            writer.write({**make_columns(n), **replaced})
        return path

    return write
