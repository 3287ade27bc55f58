"""Crops that the journal keeps for the gallery: of each unit the likeliest CTCs, so that few frames are read again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ctcnet.scan.pipeline.frame_analysis import FrameEvents
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.scan.results.gallery import MOST_EVENTS

CROP_COLUMN = "crop"
"""Column of a unit: a crop's uint16 counts as bytes, (C, S, S) with the cartridge's channels, or null."""

MOST_CROPS_PER_UNIT = 64
"""Crops that a unit keeps at most; where units are so few that the gallery needs more, there are few frames to read."""


def likeliest(p_contains_ctc: np.ndarray, has_crop: np.ndarray, units: int) -> np.ndarray:
    """Rows of a unit whose crops are kept, twice its share of the gallery: those likeliest to contain a CTC.

    Args:
        p_contains_ctc: (N,) probabilities of the unit's events; NaN is the least likely.
        has_crop: (N,) bool, whether the event's crop is at hand.
        units: units of the cartridge.
    """
    rows = np.flatnonzero(has_crop)
    order = np.argsort(-np.nan_to_num(p_contains_ctc[rows], nan=-1.0), kind="stable")
    return rows[order[: min(MOST_CROPS_PER_UNIT, -(-2 * MOST_EVENTS // units))]]


def crop_column(
    frames: Sequence[FrameEvents], p_contains_ctc: np.ndarray, order: Sequence[int] | None, units: int
) -> pa.Array:
    """`CROP_COLUMN` of a unit.

    Args:
        frames: of the unit.
        p_contains_ctc: (N,) probabilities of their events.
        order: for each channel of the cartridge its place among the model's; None where the model does not see all of
            them, so that no crop is kept.
        units: units of the cartridge.
    """
    ends = np.cumsum([len(frame.columns["x_px"]) for frame in frames], dtype=np.int64)
    values: list[bytes | None] = [None] * len(p_contains_ctc)
    if order is not None and values:
        frame_of = np.searchsorted(ends, np.arange(len(values)), side="right").tolist()
        at_hand = np.array([frames[number].answers is None for number in frame_of])
        for row in likeliest(p_contains_ctc, at_hand, units).tolist():
            crop = frames[frame_of[row]].crops[row - int(ends[frame_of[row]])]  # from its frame's end
            values[row] = crop.cpu().numpy()[list(order)].astype(np.uint16).tobytes()
    return pa.array(values, type=pa.large_binary())


def kept_crops(
    work: WorkFolder, sizes: Sequence[int], rows: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Crops of events as far as the journal has kept them.

    Args:
        work: the finished units.
        sizes: events of each unit.
        rows: (N,) events wanted, counted over all units.
        shape: (C, S, S) of a crop.

    Returns:
        (N, C, S, S) uint16 counts, 0 where there is none; (N,) bool, whether there is one.
    """
    crops, found = np.zeros((len(rows), *shape), dtype=np.uint16), np.zeros(len(rows), dtype=bool)
    ends = np.cumsum(sizes)
    unit_of = np.searchsorted(ends, rows, side="right")
    for unit in np.unique(unit_of).tolist():
        table = work.read_columns(unit, [CROP_COLUMN])
        for place in np.flatnonzero(unit_of == unit).tolist():
            content = table[CROP_COLUMN][int(rows[place] - (ends[unit] - sizes[unit]))].as_buffer()
            if content is not None:
                crops[place], found[place] = np.frombuffer(content, np.uint16).reshape(shape), True
    return crops, found
