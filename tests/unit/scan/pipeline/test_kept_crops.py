"""Crops that the journal keeps are those of the likeliest CTCs, pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ctcnet.scan.pipeline.crop_answers import CropAnswers
from ctcnet.scan.pipeline.kept_crops import CROP_COLUMN, MOST_CROPS_PER_UNIT, crop_column, kept_crops, likeliest
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.scan.results.gallery import MOST_EVENTS

pytestmark = pytest.mark.unit

SHAPE = (3, 4, 4)
PANEL_ORDER = [2, 0, 1]


def frame(count: int, seed: int, classified: bool = False) -> Any:
    """A frame with `count` events; one that is classified already keeps no crops."""
    values = np.random.default_rng(seed).integers(0, 65536, (0 if classified else count, *SHAPE)).astype(np.uint16)
    answers = CropAnswers(*[np.zeros(count)] * 4) if classified else None
    return SimpleNamespace(columns={"x_px": np.zeros(count)}, crops=torch.from_numpy(values), answers=answers)


@given(
    npst.arrays(np.float32, st.integers(0, 60), elements=st.floats(0, 1, width=32) | st.just(float("nan"))),
    st.integers(1, 200),
    st.randoms(use_true_random=False),
)
def test_no_event_left_out_is_likelier(p: np.ndarray, units: int, random: Any) -> None:
    at_hand = np.array([random.random() < 0.7 for _ in p], dtype=bool)
    rows = likeliest(p, at_hand, units)
    assert len(rows) == min(at_hand.sum(), MOST_CROPS_PER_UNIT, -(-2 * MOST_EVENTS // units))
    assert len(set(rows.tolist())) == len(rows)
    assert at_hand[rows].all()
    left_out = np.setdiff1d(np.flatnonzero(at_hand), rows)
    known = np.nan_to_num(p, nan=-1.0)
    assert not len(left_out) or not len(rows) or known[left_out].max() <= known[rows].min()


def test_kept_crops_come_back_in_the_cartridges_order(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work", {})
    frames = [frame(5, 0), frame(3, 1, classified=True), frame(4, 2)], [frame(6, 3)], [frame(0, 4)]
    units, sizes = 40, [12, 6, 0]
    for number, (of_unit, size) in enumerate(zip(frames, sizes, strict=True)):
        column = crop_column(cast(Any, of_unit), np.linspace(0, 1, size), PANEL_ORDER, units)
        work.write_unit(number, pa.table({"x_px": np.zeros(size), CROP_COLUMN: column}), [])
    rows = np.array([17, 0, 6, 11, 12, 8])
    crops, found = kept_crops(work, sizes, rows, SHAPE)
    assert found.tolist() == [True, True, False, True, True, True]
    expected = [frames[1][0].crops[5], frames[0][0].crops[0], None, frames[0][2].crops[3], frames[1][0].crops[0]]
    for crop, source in zip(crops, [*expected, frames[0][2].crops[0]], strict=True):
        whole = np.zeros(SHAPE, np.uint16) if source is None else source.numpy()[PANEL_ORDER]
        np.testing.assert_array_equal(crop, whole)


def test_nothing_is_kept_of_a_model_that_does_not_see_every_channel() -> None:
    column = crop_column([frame(5, 0)], np.zeros(5), None, 1)
    assert column.null_count == len(column) == 5


def test_a_unit_without_frames_has_an_empty_column() -> None:
    assert len(crop_column([], np.zeros(0), PANEL_ORDER, 3)) == 0
