"""The sample of cells that a cartridge is judged by, and what is said of its score."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.labels import load_schema
from ctcnet.runtime.cartridge_atypicality import CartridgeReference, CartridgeScore, cartridge_features, fit_cartridges
from ctcnet.scan.event_kinds import CELL, CLUSTER, OBJECT
from ctcnet.scan.pipeline.cartridge_score import (
    EMBEDDING_COLUMN,
    SAMPLED_CELLS,
    sample_column,
    sampled_rows,
    score_cartridge,
    score_text,
    score_to_dict,
)
from ctcnet.scan.pipeline.work_folder import WorkFolder

pytestmark = pytest.mark.unit

LABELS = load_schema("five_class")
WIDTH = 4


def columns(kind: np.ndarray, unregistered: bool = False) -> dict[str, np.ndarray]:
    return {"kind": kind.astype(np.uint8), "unregistered": np.full(len(kind), unregistered)}


@given(st.lists(st.sampled_from([CELL, OBJECT, CLUSTER]), max_size=300), st.integers(1, 4000))
def test_the_sample_is_of_cells_alone_and_spread_over_them(kinds, places):
    kind = np.array(kinds, dtype=np.uint8)
    rows = sampled_rows(columns(kind), places)
    cells = np.flatnonzero(kind == CELL)
    assert len(rows) == min(len(cells), -(-SAMPLED_CELLS // places))
    assert np.isin(rows, cells).all()
    assert (np.diff(rows) > 0).all()
    ranks = np.searchsorted(cells, rows)
    assert len(rows) < 3 or np.ptp(np.diff(ranks)) <= 1


def test_frames_whose_channels_do_not_belong_together_lend_no_cell():
    assert len(sampled_rows(columns(np.full(10, CELL), unregistered=True), 1)) == 0


def test_the_whole_sample_is_bounded():
    for places in (1, 9, 175, 2304):
        per_place = len(sampled_rows(columns(np.full(100_000, CELL)), places))
        assert SAMPLED_CELLS <= per_place * places < SAMPLED_CELLS + places


def test_embeddings_stand_beside_the_events_that_they_are_of():
    embedding = np.arange(4, dtype=np.float32).reshape(2, 2)
    assert sample_column(np.array([0, 4]), embedding, 5).to_pylist() == [[0, 1], None, None, None, [2, 3]]
    assert sample_column(np.zeros(0, int), np.zeros((0, 2), np.float32), 3).to_pylist() == [None] * 3
    assert len(sample_column(np.zeros(0, int), np.zeros((0, 0), np.float32), 0)) == 0


def reference_of(rng: np.random.Generator) -> CartridgeReference:
    cartridges = [rng.normal(rng.normal(0, 0.1, WIDTH), 1, (300, WIDTH)) for _ in range(60)]
    return fit_cartridges([cartridge_features(cells, np.ones(300, bool))[0] for cells in cartridges])


def write_units(work: WorkFolder, embedding: np.ndarray, called: str = "leukocyte") -> int:
    """Units of 100 events, every second of them in the sample; all events are called one class."""
    units = np.split(embedding, len(embedding) // 50)
    for unit, cells in enumerate(units):
        values: list[np.ndarray | None] = [None] * 100
        values[::2] = list(cells)
        table = {f"p{k}": np.full(100, name == called, np.float32) for k, name in enumerate(LABELS.classes)}
        column = pa.array(values, type=pa.list_(pa.float32()))
        work.write_unit(unit, pa.table({**table, EMBEDDING_COLUMN: column}), [])
    return len(units)


@pytest.mark.parametrize(("shift", "called"), [(0.0, "leukocyte"), (1.5, "leukocyte"), (0.0, "debris")])
def test_a_cartridge_is_scored_from_the_sample_of_its_units(tmp_path, shift, called):
    rng = np.random.default_rng(0)
    reference, work = reference_of(rng), WorkFolder(tmp_path / "work", {})
    units = write_units(work, rng.normal(shift, 1, (400, WIDTH)).astype(np.float32), called)
    score = score_cartridge(work, units, reference, LABELS)
    assert (score.events, score.of_leukocytes) == (400, called == "leukocyte")
    assert (score.score > 1) == (shift > 0)


def test_too_few_cells_give_no_score_and_say_so(tmp_path):
    rng = np.random.default_rng(0)
    reference, work = reference_of(rng), WorkFolder(tmp_path / "work", {})
    units = write_units(work, rng.normal(0, 1, (150, WIDTH)).astype(np.float32))
    described = score_to_dict(score_cartridge(work, units, reference, LABELS), reference)
    assert described["score"] is None
    assert described["cells"] == 150
    assert "200" in described["reason"]
    json.dumps(described, allow_nan=False)


def test_cartridges_without_an_event_have_no_score(tmp_path):
    work = WorkFolder(tmp_path / "work", {})
    table = {f"p{k}": np.zeros(0, np.float32) for k in range(len(LABELS.classes))}
    work.write_unit(0, pa.table({**table, EMBEDDING_COLUMN: pa.array([], type=pa.list_(pa.float32()))}), [])
    score = score_cartridge(work, 1, reference_of(np.random.default_rng(0)), LABELS)
    assert np.isnan(score.score)
    assert score.events == 0


def test_what_is_said_of_a_score():
    reference = reference_of(np.random.default_rng(0))
    described = score_to_dict(CartridgeScore(2.345678912, 1234, True), reference)
    assert described == {
        "score": 2.34568, "cells": 1234, "of_leukocytes": True, "reference_cartridges": 60, "reason": None,
    }  # fmt: skip
    assert score_text(described) == "2.35 from 1234 cells called leukocyte; above 1 is atypical"
    nothing = score_to_dict(None, None)
    assert score_text(nothing) == "not known: the model holds no reference of cartridges"
    odd = score_to_dict(CartridgeScore(float("nan"), 500, True), reference)
    assert "finite" in odd["reason"]
    json.dumps([nothing, odd], allow_nan=False)
