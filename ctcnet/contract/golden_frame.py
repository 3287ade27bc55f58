"""A small frame with the events in it, in the file itself: any program can show that it finds the same events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctcnet.contract.golden_values import difference, reading, refusal, score_difference, to_plain
from ctcnet.contract.packed_array import pack_array, unpack_array
from ctcnet.errors import ContractError, ModelFileError
from ctcnet.runtime.conformal import judge_unassigned
from ctcnet.runtime.frame_predictor import FramePredictor

COLUMNS = ("x_px", "y_px", "diameter_um", "kind", "members", "parent", "probabilities", "unassigned", "atypicality")
"""Outputs of the graph that a golden frame states for each event."""
DIAMETER_TOLERANCE_UM = 0.5
"""Largest difference of a diameter, which is of an area counted in pixels or of a circle around such: about a pixel."""


class GoldenEvents(NamedTuple):
    """The `COLUMNS` of the events, in the order of the graph."""

    x_px: np.ndarray
    y_px: np.ndarray
    diameter_um: np.ndarray
    kind: np.ndarray
    members: np.ndarray
    parent: np.ndarray
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
        levels = {name: to_plain(getattr(self, name)) for name in ("background", "scale")}
        events = {name: to_plain(values) for name, values in self.events._asdict().items()}
        return json.dumps({"frame": pack_array(self.frame), **levels, "events": events, **numbers})


_TOLERANCES = ("position_tolerance_px", "probability_tolerance", "atypicality_tolerance")


def golden_frame_from_text(text: str, where: str | Path) -> GoldenFrame:
    """Read the metadata property `golden_frame`.

    Raises:
        ModelFileError: it is malformed.
    """
    with reading("frame", where):
        content = json.loads(text)
        frame = unpack_array(content["frame"], where)
        background, scale = (np.array(content[name], np.float32) for name in ("background", "scale"))
        types = {"kind": np.int32, "members": np.int32, "parent": np.int32, "unassigned": np.bool_}
        columns = {name: np.array(content["events"][name], types.get(name, np.float32)) for name in COLUMNS}
        tolerances = {name: float(content[name]) for name in _TOLERANCES}
    events = GoldenEvents(**columns)
    number = events.x_px.size
    fits = frame.ndim == 3 and frame.dtype == np.uint16 and background.shape == scale.shape == frame.shape[:1]
    fits = fits and number > 0 and events.probabilities.ndim == 2 and len(events.probabilities) == number
    fits = fits and ((events.parent >= -1) & (events.parent < number)).all()
    if not fits or any(values.shape != (number,) for values in events if values is not events.probabilities):
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
        raise _refusal("events", where, len(events.x_px), len(found))
    if found.probabilities.shape != events.probabilities.shape:
        raise _refusal("probabilities", where, events.probabilities.shape, found.probabilities.shape)
    apart = np.hypot(difference(events.x_px[:, None], found.x_px), difference(events.y_px[:, None], found.y_px))
    apart[events.kind[:, None] != found.kind] = np.inf
    rows, nearest = apart.argmin(axis=1), apart.min(axis=1)
    if len(set(rows)) < len(rows) or nearest.max() > golden.position_tolerance_px:
        event = int(nearest.argmax())
        stated = f"one at x {events.x_px[event]:.2f}, y {events.y_px[event]:.2f} px, kind {events.kind[event]}"
        raise _refusal("events", where, stated, "none within the tolerance")
    probability = difference(events.probabilities, found.probabilities[rows]).max(axis=1)
    atypicality = score_difference(events.atypicality, found.atypicality[rows])
    own = found.probabilities[rows], found.atypicality[rows]
    apart_um = difference(events.diameter_um, found.diameter_um[rows])
    for name, wrong in (
        ("probabilities", ~(probability <= golden.probability_tolerance)),
        ("atypicality", ~(atypicality <= golden.atypicality_tolerance)),
        ("unassigned", found.unassigned[rows] != events.unassigned),
        ("unassigned", judge_unassigned(*own, predictor.card) != found.unassigned[rows]),
        ("members", found.members[rows] != events.members),
        ("parent", ~_same_parent(events.parent, found.parent[rows], rows)),
        ("diameter_um", ~(apart_um <= DIAMETER_TOLERANCE_UM)),
    ):
        if wrong.any():
            event = int(np.flatnonzero(wrong)[0])
            raise _refusal(name, where, getattr(events, name)[event], getattr(found, name)[rows][event])
    return float(probability.max())


def _same_parent(stored: np.ndarray, found: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether each event has the same cluster: bool (N,), for stored rows, those found, and where each is found."""
    return np.where(stored < 0, -1, rows[stored]) == found


def _refusal(what: str, where: str | Path, expected: object, found: object) -> ContractError:
    return refusal(what, "frame", where, expected, found)
