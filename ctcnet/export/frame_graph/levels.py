"""Which background and scale the events of a frame are classified with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctcnet.export.frame_graph.arrays import FLOAT, Array, full, plain, where
from ctcnet.export.frame_graph.background import FrameBackground
from ctcnet.model_card import ModelCard
from ctcnet.runtime.frame_predictor import GIVEN, OF_CROP, OF_FRAME, OF_MODEL

INT32 = np.dtype(np.int32)


@dataclass(frozen=True)
class FrameLevels:
    """Levels of the model's channels, (C,) each.

    Attributes:
        background, scale: float32 counts.
        background_source, scale_source: int32, see `ctcnet.runtime.frame_predictor.LEVEL_SOURCES`.
    """

    background: Array
    scale: Array
    background_source: Array
    scale_source: Array


def choose_levels(background: Array, scale: Array, measured: FrameBackground, card: ModelCard) -> FrameLevels:
    """Levels given; for what is no usable number those of the frame, or else the model's own."""
    usable = background < float("inf"), (scale > 0) & (scale < float("inf"))
    usable = usable[0] & (background > float("-inf")), usable[1]
    if card.normalization.mode == "per_crop":
        number = measured.level.size(0)
        unknown, source = full(number, float("nan"), FLOAT), full(number, OF_CROP, INT32)
        return FrameLevels(unknown, unknown, source, source)
    own = plain(card.normalization.scale)
    return FrameLevels(
        where(usable[0], background, measured.level),
        where(usable[1], scale, own),
        where(usable[0], plain(GIVEN, INT32), OF_FRAME),
        where(usable[1], plain(GIVEN, INT32), OF_MODEL),
    )
