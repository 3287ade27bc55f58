"""Simulated crops and frames for a model file, as cases for the runners of `scripts/examples`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from runtime_cases import Case

from ctcnet.cli import main as ctcnet
from ctcnet.crops import read_crops
from ctcnet.export.parity import BATCH_SIZES
from ctcnet.export.simulated_frame import simulated_frame
from ctcnet.model_card import ModelCard
from ctcnet.panel import load_panel
from ctcnet.runtime.frame_predictor import MAX_EVENTS

COUNT, GROUPS, SEED = 256, 4, 909
"""Crops, the simulated cartridges they are from, and the seed, which no model was trained on."""

FRAMES = {4: ((1036, 1384, 1, 1), (1004, 1362, 1, 1), (2040, 2040, 1, 1)), 5: ((64, 64, 4, 5),)}
"""Height and width of frames, and into how many rows and columns of them a simulated field is cut, by the number of
channels."""


def crop_cases(card: ModelCard, folder: Path) -> Iterator[Case]:
    """Every crop in every batch size, with its cartridge's levels and with the model's own.

    Args:
        card: the model's.
        folder: where the crops are, or are to be written.
    """
    counts, background, scale = _simulated_crops(card, folder)
    own = np.full(counts.shape[1], np.nan, dtype=np.float32)
    _, groups = np.unique(background, axis=0, return_inverse=True)
    for size in BATCH_SIZES:
        for group in range(groups.max() + 1):
            rows = np.flatnonzero(groups == group)
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                levels = {"cartridge": (background[batch[0]], scale[batch[0]]), "model": (own, own)}
                for name, (low, high) in levels.items():
                    inputs = {"crops": counts[batch], "background": low, "scale": high}
                    yield Case(f"batch {size}, levels of the {name}", inputs)


def _simulated_crops(card: ModelCard, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts uint16 (N, C, S, S) at the model's scale, and the levels of each crop's cartridge, float32 (N, C)."""
    if not folder.exists():
        size = ("--crop-size-px", str(card.crop_size_px), "--pixel-size-um", str(card.pixel_size_um))
        number = ("--count", str(COUNT), "--groups", str(GROUPS), "--seed", str(SEED))
        ctcnet(["simulate", "crops", str(folder), *number, *size, "--panel", card.panel.name, "--effects", "all"])
    crops = read_crops(folder / "manifest.csv", load_panel(card.panel.name), labelled=False)
    counts = crops.read(np.arange(COUNT), card.pixel_size_um, card.crop_size_px)
    return counts, crops.background.astype(np.float32), crops.scale.astype(np.float32)


def frame_cases(card: ModelCard, frame_pixel_size_um: float) -> Iterator[Case]:
    """Frames of every size, with the levels that they show themselves and with the model's own."""
    channels = len(card.panel.channels)
    if channels not in FRAMES:
        raise SystemExit(f"error: no sizes of frames are listed for {channels} channels, only for {sorted(FRAMES)}")
    nan = np.full(channels, np.nan, dtype=np.float32)
    own = card.normalization
    levels = {"frame": (nan, nan)}
    if own.background is not None and own.scale is not None:
        levels["model"] = (np.array(own.background, np.float32), np.array(own.scale, np.float32))
    most = np.array([MAX_EVENTS], np.int64)
    for height, width, rows, columns in FRAMES[channels]:
        field = simulated_frame(card.panel, frame_pixel_size_um, (rows * height, columns * width), SEED)
        for row, column in np.ndindex(rows, columns):
            frame = field[:, row * height :][:, :height, column * width :][:, :, :width]
            for name, (low, high) in levels.items():
                inputs = {"frame": frame, "background": low, "scale": high, "max_events": most}
                yield Case(f"{width} x {height} x {channels}, levels of the {name}", inputs)
