"""Simulated crops of a panel with their counts, for jobs that need labelled crops and are given none."""

from __future__ import annotations

import numpy as np
import torch

from ctcnet.crops import LabelledCrops
from ctcnet.crops.memory_source import simulated_in_memory
from ctcnet.model_card import ModelCard
from ctcnet.progress import track
from ctcnet.simulate.crop_stream import Piece, StreamSettings, draw_imaging, simulate_piece
from ctcnet.simulate.effects import Effects

SEED = 20_261_122
"""Neither of training streams, whose seeds are small, nor of the crops that a shipped model's answers are fitted to."""
PIECES, GROUPS, GROUP_CROPS = 31, 8, 40
"""Sets of cartridges, each imaged in its own way, their cartridges, and the crops of each: as many as are held in
memory for a model of reduced precision. Of fewer, a class's recall moves by chance as far as its gate allows."""


def simulated_crops(card: ModelCard) -> LabelledCrops:
    """Crops as a shipped model was trained on, of the card's panel and at its scale, in memory; always the same."""
    panel, per_crop = card.panel, card.normalization.mode == "per_crop"
    settings = StreamSettings(
        (), card.crop_size_px, card.pixel_size_um, per_crop=per_crop, groups=GROUPS, group_crops=GROUP_CROPS
    )
    rng = np.random.default_rng(SEED)
    counts, labels, groups, levels = [], [], [], []
    for number in track(range(PIECES), f"{card.name}: simulating crops of panel '{panel.name}'"):
        imaging = draw_imaging(panel, card.pixel_size_um, rng)
        piece = simulate_piece(panel, settings, imaging, int(rng.integers(2**62)), Effects.all())
        given = _levels(piece, card)
        counts.append(_counts(piece, *given, panel.full_scale))
        labels.append(piece.labels.numpy())
        groups += [f"{number}_{group}" for group in piece.groups.tolist()]
        levels.append(given)
    background, scale = (np.concatenate(column).astype(np.float32) for column in zip(*levels, strict=True))
    if per_crop:
        background, scale = np.full_like(background, np.nan), np.full_like(scale, np.nan)
    pixels, group = np.concatenate(counts), np.array(groups, object)
    return simulated_in_memory(card, pixels, np.concatenate(labels), group, background, scale)


def _levels(piece: Piece, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """Background and scale of each crop, (N, C): its cartridge's, or any that keep it within the counts."""
    rows = piece.groups.numpy()
    if card.normalization.mode == "per_crop":
        shape, full = (len(rows), len(card.panel.channels)), card.panel.full_scale
        return np.full(shape, full / 8), np.full(shape, full / 2)
    return piece.background[rows], piece.scale[rows]


def _counts(piece: Piece, background: np.ndarray, scale: np.ndarray, full_scale: float) -> np.ndarray:
    """Counts (N, C, S, S), uint16, of which the piece's crops are the normalised form."""
    b, s = (torch.from_numpy(level).float()[:, :, None, None] for level in (background, scale))
    return (piece.x.float() * s + b).round_().clamp_(0, full_scale).numpy().astype(np.uint16)
