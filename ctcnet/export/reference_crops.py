"""Crops that a model of another precision is calibrated on and judged by, held in memory and divided by group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctcnet.crops import LabelledCrops, read_crops
from ctcnet.crops.memory_source import in_memory
from ctcnet.crops.splits import split_groups
from ctcnet.errors import ManifestError
from ctcnet.model_card import ModelCard
from ctcnet.panel import Panel
from ctcnet.runtime import Predictions, classify_crops
from ctcnet.runtime.crop_prediction import match_channels
from ctcnet.runtime.onnx_predictor import check_level
from ctcnet.runtime.predictions import CPU_BATCH_SIZE

MOST_CROPS = 10_000
"""Crops that are held in memory: 410 MB at five channels of 64 x 64 px."""
LEAST_CALIBRATION_CROPS, LEAST_HELD_OUT_CROPS = 100, 200
CALIBRATION_SHARE = 1 / 3
MOST_CALIBRATION_CROPS = 1000
SEED = 0


class Division(NamedTuple):
    """Crops of some groups to calibrate on, those of the others to judge by."""

    calibration: LabelledCrops
    held_out: LabelledCrops


def read_reference_crops(source: str | Path, panel: Panel | None, card: ModelCard) -> LabelledCrops:
    """Crops of a manifest, a store or a folder at the model's scale, in memory; labels where the source has them.

    Of more than `MOST_CROPS` that many are drawn, always the same.

    Args:
        source: as `ctcnet.crops.read_crops` takes it.
        panel: channels of the images; None for a store's own.
        card: the model's.

    Raises:
        ManifestError: too few crops.
        ModelPanelError: the channels are not the model's.
        CtcnetError: as `read_crops` and `LabelledCrops.read`.
    """
    crops = read_crops(source, panel, card.labels)
    match_channels(crops.panel, card)
    least = LEAST_CALIBRATION_CROPS + LEAST_HELD_OUT_CROPS
    if len(crops) < least:
        raise ManifestError(
            "holds too few crops to calibrate a model on some and to judge it by the others",
            where=source,
            expected=f"{least} or more ({LEAST_CALIBRATION_CROPS} and {LEAST_HELD_OUT_CROPS})",
            found=str(len(crops)),
            fix="give more crops; a few thousand of many patients are good",
        )
    if len(crops) > MOST_CROPS:
        crops = crops.subset(np.sort(np.random.default_rng(SEED).choice(len(crops), MOST_CROPS, replace=False)))
    pixels = crops.read(slice(None), card.pixel_size_um, card.crop_size_px)
    return in_memory(crops, pixels)


def divide(crops: LabelledCrops, where: str | Path) -> Division:
    """Divide crops by group, a third to calibrate on and two thirds to judge by; classes are spread evenly.

    Crops without a group count as groups of their own. Of the third at most `MOST_CALIBRATION_CROPS` are kept.

    Raises:
        SplitError: the groups cannot be divided so.
        ManifestError: a part would be too small.
    """
    group = crops.group if (crops.group != "").all() else np.array([str(row) for row in range(len(crops))], object)
    targets = np.ones((len(crops), 1), np.float32) if crops.targets is None else crops.targets
    targets = targets[:, targets.any(axis=0)]  # a class without crops cannot be spread
    part = split_groups(group, targets, val_fraction=0.0, test_fraction=1 - CALIBRATION_SHARE, seed=SEED, where=where)
    rows, held_out = np.flatnonzero(part == "train"), np.flatnonzero(part == "test")
    for found, least, purpose in (
        (rows, LEAST_CALIBRATION_CROPS, "calibrate on"),
        (held_out, LEAST_HELD_OUT_CROPS, "judge by"),
    ):
        if len(found) < least:
            raise ManifestError(
                f"divides into parts of which that to {purpose} is too small",
                where=where,
                expected=f"{least} crops or more",
                found=str(len(found)),
                fix="give crops of more groups",
            )
    if len(rows) > MOST_CALIBRATION_CROPS:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, MOST_CALIBRATION_CROPS, replace=False))
    return Division(crops.subset(rows), crops.subset(held_out))


class _FeedCollector:
    """A predictor that keeps what it is asked."""

    cartridge_reference = None
    batch_size = CPU_BATCH_SIZE
    calls_at_once = 1

    def __init__(self, card: ModelCard, dtype: np.dtype) -> None:
        self.card, self.dtype = card, dtype
        self.feeds: list[dict[str, np.ndarray]] = []

    def predict(
        self, crops: np.ndarray, background: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> Predictions:
        count, channels = crops.shape[:2]
        levels = {
            name: check_level(level, name, channels) for name, level in (("background", background), ("scale", scale))
        }
        self.feeds.append({"crops": np.ascontiguousarray(crops, self.dtype), **levels})
        p = np.zeros((count, len(self.card.labels.classes)), np.float32)
        return Predictions(p, p[:, 0] > 0, p[:, 0], p[:, :0])


def graph_feeds(crops: LabelledCrops, card: ModelCard, dtype: np.dtype) -> Sequence[dict[str, np.ndarray]]:
    """Inputs of the graph for these crops, as classification would give them: batches that share their levels.

    Raises:
        ModelPanelError: the channels or the bit depth are not the model's.
    """
    collector = _FeedCollector(card, dtype)
    classify_crops(collector, crops)
    return collector.feeds
