"""A small frame with the events in it, in the file itself: any program can show that it finds the same events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctcnet.contract.packed_array import pack_array, unpack_array
from ctcnet.errors import ContractError, ModelFileError
from ctcnet.runtime.frame_predictor import FramePredictor

COLUMNS = ("x_px", "y_px", "kind", "members", "probabilities", "unassigned", "atypicality")
"""Outputs of the graph that a golden frame states for each event."""


class GoldenEvents(NamedTuple):
    """The `COLUMNS` of the events, in the order of the graph."""

    x_px: np.ndarray
    y_px: np.ndarray
    kind: np.ndarray
    members: np.ndarray
    probabilities: np.ndarray
    unassigned: np.ndarray
    atypicality: np.ndarray


@dataclass(frozen=True)
class GoldenFrame:
    """A frame and its events.

    Attributes:
        frame: uint16 (C, H, W) counts.
        background, scale: float32 (C,) counts; NaN for what the frame shows.
        events: see `GoldenEvents`.
        position_tolerance_px: events are the same where they are of one kind and no farther apart.
        probability_tolerance: largest difference of a probability that is let through; no event is in the guard band.
        atypicality_tolerance: the same for an atypicality, relative to the larger of 1 and the value.
    """

    frame: np.ndarray
    background: np.ndarray
    scale: np.ndarray
    events: GoldenEvents
    position_tolerance_px: float
    probability_tolerance: float
    atypicality_tolerance: float

    def to_text(self) -> str:
        """JSON of the metadata property `golden_frame`; NaN is null."""
        numbers = {name: getattr(self, name) for name in _TOLERANCES}
        levels = {name: _plain(getattr(self, name)) for name in ("background", "scale")}
        events = {name: _plain(values) for name, values in self.events._asdict().items()}
        return json.dumps({"frame": pack_array(self.frame), **levels, "events": events, **numbers})


_TOLERANCES = ("position_tolerance_px", "probability_tolerance", "atypicality_tolerance")


def golden_frame_from_text(text: str, where: str | Path) -> GoldenFrame:
    """Read the metadata property `golden_frame`.

    Raises:
        ModelFileError: it is malformed.
    """
    try:
        content = json.loads(text)
        frame = unpack_array(content["frame"], where)
        background, scale = (np.array(content[name], np.float32) for name in ("background", "scale"))
        types = {"kind": np.int32, "members": np.int32, "unassigned": np.bool_}
        columns = {name: np.array(content["events"][name], types.get(name, np.float32)) for name in COLUMNS}
        tolerances = {name: float(content[name]) for name in _TOLERANCES}
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as cause:
        raise ModelFileError(f"golden frame is malformed ({cause})", where=where) from cause
    events = GoldenEvents(**columns)
    fits = frame.ndim == 3 and frame.dtype == np.uint16 and events.x_px.ndim == 1 and events.probabilities.ndim == 2
    fits = fits and background.shape == scale.shape == frame.shape[:1]
    if not fits or {len(values) for values in events} != {len(events.x_px)} or not len(events.x_px):
        raise ModelFileError("golden frame has arrays that do not fit together", where=where)
    return GoldenFrame(frame, background, scale, events, **tolerances)


def check_golden_frame(golden: GoldenFrame, predictor: FramePredictor, where: str | Path) -> float:
    """Compare the events that a graph finds with those stored, matched by kind and place: near ties may swap rows.

    Returns:
        Largest difference of a probability.

    Raises:
        ContractError: an event is missing, another is there, or an answer differs.
    """
    found = predictor.predict(golden.frame, golden.background, golden.scale)
    events = golden.events
    if len(found) != len(events.x_px):
        raise _difference("events", where, str(len(events.x_px)), str(len(found)))
    apart = np.hypot(found.x_px[None] - events.x_px[:, None], found.y_px[None] - events.y_px[:, None])
    apart[found.kind[None] != events.kind[:, None]] = np.inf
    rows = apart.argmin(axis=1)
    if len(set(rows)) < len(rows) or apart.min(axis=1).max() > golden.position_tolerance_px:
        event = int(apart.min(axis=1).argmax())
        stated = f"one at x {events.x_px[event]:.2f}, y {events.y_px[event]:.2f} px, kind {events.kind[event]}"
        raise _difference("events", where, stated, "none within the tolerance")
    difference = np.abs(found.probabilities[rows] - events.probabilities).max(axis=1)
    score, stated_score = found.atypicality[rows], events.atypicality
    unlike = np.abs(score - stated_score) / np.fmax(1, np.abs(stated_score))
    unlike = np.where(np.isnan(score) & np.isnan(stated_score), 0.0, unlike)
    for name, wrong in (
        ("probabilities", ~(difference <= golden.probability_tolerance)),
        ("atypicality", ~(unlike <= golden.atypicality_tolerance)),
        ("unassigned", found.unassigned[rows] != events.unassigned),
        ("members", found.members[rows] != events.members),
    ):
        if wrong.any():
            event = int(np.flatnonzero(wrong)[0])
            raise _difference(name, where, str(getattr(events, name)[event]), str(getattr(found, name)[rows][event]))
    return float(difference.max())


def _difference(what: str, where: str | Path, expected: str, found: str) -> ContractError:
    return ContractError(
        f"gives other {what} for its golden frame",
        where=where,
        expected=expected,
        found=found,
        fix="do not use it here: export it again, or bring onnxruntime up to date",
    )


def _plain(values: np.ndarray) -> list:
    if values.ndim == 2:
        return [_plain(row) for row in values]
    if values.dtype.kind != "f":
        return values.tolist()
    return [None if np.isnan(value) else float(f"{value:.9g}") for value in values.tolist()]
