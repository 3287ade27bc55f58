"""Parity gate of the frame graph: it must give the events of the scan's own detection, cutting and model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import KDTree

from ctcnet.errors import ContractError, ParityError
from ctcnet.export.parity import decision_flips
from ctcnet.export.simulated_frame import simulated_frame
from ctcnet.runtime import FrameEvents, FramePredictor, Predictions, Predictor
from ctcnet.runtime.frame_predictor import MAX_EVENTS
from ctcnet.scan.detect.detected_events import DetectedEvents
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.pipeline.crop_cutting import CropCutter
from ctcnet.scan.platform import load_platform
from ctcnet.scan.preprocess.spillover import unmixing_matrix
from ctcnet.scan.preprocess.unmixing import undo_spillover

FRAME_SHAPE, SEED = (640, 512), 0
LARGEST_DISTANCE_PX = 0.5
"""Two events are one where they are of one kind and no farther apart than this."""
MOST_IN_BAND = 0.005
"""Largest share of events whose decision may differ, all of them within the guard band."""


@dataclass(frozen=True)
class FrameParity:
    """What a comparison of a frame's events found.

    Attributes:
        scan_events, graph_events: number of events of either.
        matched: events of both.
        distance_px: largest distance between the two places of a matched event.
        probability_difference: largest absolute difference between probabilities of matched events.
        flips_inside, flips_outside: matched events whose decision differs, within the guard band and outside it.
        guard_band: of the model, which is also the largest difference of a probability that is let through.
    """

    scan_events: int
    graph_events: int
    matched: int
    distance_px: float
    probability_difference: float
    flips_inside: int
    flips_outside: int
    guard_band: float

    @property
    def holds(self) -> bool:
        """Whether both give the same events."""
        return (
            self.matched == self.scan_events == self.graph_events
            and self.probability_difference <= self.guard_band
            and self.flips_outside == 0
            and self.flips_inside <= MOST_IN_BAND * self.scan_events
        )

    def to_text(self) -> str:
        """What was found where both give the same events, in words."""
        return (
            f"all {self.matched} events of a simulated frame found within {self.distance_px:.2g} px, worst difference "
            f"{self.probability_difference:.2g} in a probability, {self.flips_inside} decisions differ in the guard "
            "band, none outside it"
        )


def check_frame_parity(
    predictor: Predictor,
    detector: EventDetector,
    unmixing: np.ndarray,
    graph: FramePredictor,
    where: str | Path,
) -> FrameParity:
    """Compare a frame graph with the scan on a simulated frame of its panel, under the same levels.

    Args:
        predictor: the checkpoint.
        detector: the scan's detector.
        unmixing: (C, C), see `ctcnet.scan.preprocess.spillover`.
        graph: the exported file.
        where: file that the error names.

    Raises:
        ParityError: they differ, or the frame shows too little to tell.
    """
    frame = simulated_frame(predictor.card.panel, detector.pixel_size_um, FRAME_SHAPE, SEED)
    own = predictor.card.normalization
    scale = None if own.scale is None else np.array(own.scale, np.float32)
    events, answers = scan_events(predictor, detector, unmixing, frame, scale)
    background = None if scale is None else events.background.astype(np.float32)
    parity = compare_events(events, answers, graph.predict(frame, background, scale, MAX_EVENTS), predictor)
    if not parity.holds or not parity.matched:
        raise ParityError(
            "frame graph does not give the scan's events on a simulated frame",
            where=where,
            expected=f"{parity.scan_events} events, equal decisions outside the guard band",
            found=str(parity),
            fix="report this with the checkpoint; no file was kept",
        )
    return parity


def check_frame_file(predictor: Predictor, graph: FramePredictor, where: str | Path) -> FrameParity:
    """As `check_frame_parity`, with the detector and the spillover of the platform that the file names.

    Raises:
        SettingError: no platform of that name is known here.
        ContractError: its detector has other settings than the file states.
        ParityError: file and scan differ.
    """
    platform = load_platform(graph.properties.get("platform", ""))
    settings, stated = json.dumps(asdict(platform.detection)), graph.properties.get("detection", "")
    if settings != stated:
        raise ContractError(
            f"was made for other settings than the platform '{platform.name}' has here",
            where=where,
            expected=settings,
            found=stated,
            fix="export it again for this platform",
        )
    detector = EventDetector(platform.detection, predictor.card.panel.roles, graph.frame_pixel_size_um)
    unmixing = unmixing_matrix(platform, predictor.card.panel)
    return check_frame_parity(predictor, detector, unmixing, graph, where)


def scan_events(
    predictor: Predictor, detector: EventDetector, unmixing: np.ndarray, frame: np.ndarray, scale: np.ndarray | None
) -> tuple[DetectedEvents, Predictions]:
    """Events of a frame by the scan's own functions, with the background that the detector finds.

    Args:
        predictor: the model; its channels are the frame's.
        detector: of the frame's pixel size.
        unmixing: (C, C), the identity for none.
        frame: (C, H, W) uint16.
        scale: (C,) counts; None for each crop by itself.
    """
    card = predictor.card
    counts = torch.from_numpy(frame.astype(np.float32))
    if not np.array_equal(unmixing, np.eye(len(unmixing))):
        matrix = torch.as_tensor(unmixing, dtype=torch.float32)
        counts = undo_spillover(counts, matrix, card.panel.full_scale)
    events = detector.detect(counts[None])[0]
    cutter = CropCutter(detector.pixel_size_um, card.pixel_size_um, card.crop_size_px)
    crops = cutter.cut(counts, events.x_px, events.y_px, events.background).numpy()
    background = None if scale is None else events.background.astype(np.float32)
    return events, predictor.predict(crops, background, scale)


def compare_events(
    events: DetectedEvents, answers: Predictions, found: FrameEvents, predictor: Predictor
) -> FrameParity:
    """Compare the events of the scan with those of a frame graph, matched by kind and place."""
    pairs = match_events(events, found)
    expected, given = _answers(answers, pairs[:, 0]), _answers(found, pairs[:, 1])
    flips = decision_flips(expected, given, predictor.card)
    apart = np.hypot(
        events.x_px[pairs[:, 0]] - found.x_px[pairs[:, 1]], events.y_px[pairs[:, 0]] - found.y_px[pairs[:, 1]]
    )
    return FrameParity(
        scan_events=len(events),
        graph_events=len(found),
        matched=len(pairs),
        distance_px=float(apart.max(initial=0)),
        probability_difference=float(np.abs(expected.probabilities - given.probabilities).max(initial=0)),
        flips_inside=int(flips.inside.sum()),
        flips_outside=int(flips.outside.sum()),
        guard_band=predictor.card.guard_band,
    )


def _answers(answers: Predictions | FrameEvents, rows: np.ndarray) -> Predictions:
    """Answers for some events, without embeddings."""
    columns = (answers.probabilities[rows], answers.unassigned[rows], answers.atypicality[rows])
    return Predictions(*columns, np.empty((len(rows), 0), np.float32))


def match_events(events: DetectedEvents | FrameEvents, found: FrameEvents) -> np.ndarray:
    """(M, 2) rows of events of either that are of one kind and the nearest to each other, within 0.5 px."""
    far = 1e6  # events of another kind are far away
    one = np.column_stack((events.y_px, events.x_px, events.kind * far))
    two = np.column_stack((found.y_px, found.x_px, found.kind * far))
    if not len(one) or not len(two):
        return np.empty((0, 2), np.int64)
    apart, row = map(np.asarray, KDTree(two).query(one))
    back = np.asarray(KDTree(one).query(two)[1])
    mutual = (apart <= LARGEST_DISTANCE_PX) & (back[row] == np.arange(len(one)))
    return np.column_stack((np.flatnonzero(mutual), row[mutual]))
