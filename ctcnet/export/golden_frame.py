"""The golden frame of a frame graph: a small simulated frame, none of whose events is near a decision's edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctcnet.contract.golden_frame import COLUMNS, GoldenEvents, GoldenFrame
from ctcnet.errors import ParityError
from ctcnet.export.golden_crops import decision_margin
from ctcnet.export.simulated_frame import simulated_frame
from ctcnet.runtime import FrameEvents, FramePredictor, Predictions

SHAPE = (128, 160)
LEAST_EVENTS = 3
SEEDS = range(100, 130)
POSITION_TOLERANCE_PX = 0.5


def golden_frame(predictor: FramePredictor, where: str | Path) -> GoldenFrame:
    """Frame and events of an exported graph, under the model's own scale and the background that the frame shows.

    Of `SEEDS` the first frame with `LEAST_EVENTS` is taken whose events are all farther than twice the guard band from
    another decision; where there is none, that whose nearest event is farthest. Answers are the same where they
    differ by no more than the guard band.

    Args:
        predictor: the exported file.
        where: file that the error names.

    Raises:
        ParityError: it finds next to no events on simulated frames.
    """
    card = predictor.card
    own = card.normalization
    channels = len(card.panel.channels)
    background = np.full(channels, np.nan, np.float32)
    scale = background if own.scale is None else np.array(own.scale, np.float32)
    best: tuple[float, np.ndarray, FrameEvents] | None = None
    for seed in SEEDS:
        frame = simulated_frame(card.panel, predictor.frame_pixel_size_um, SHAPE, seed)
        found = predictor.predict(frame, background, scale)
        if len(found) < LEAST_EVENTS:
            continue
        answers = Predictions(found.probabilities, found.unassigned, found.atypicality, np.empty((len(found), 0)))
        margin = float(decision_margin(answers, card).min())
        if best is None or margin > best[0]:
            best = margin, frame, found
        if margin > 2 * card.guard_band:
            break
    if best is None:
        raise ParityError(
            "finds next to no events on simulated frames", where=where, expected=f"{LEAST_EVENTS} or more"
        )
    _, frame, found = best
    events = GoldenEvents(*(getattr(found, name) for name in COLUMNS))
    return GoldenFrame(frame, background, scale, events, POSITION_TOLERANCE_PX, card.guard_band, card.guard_band)
