"""The golden sample of a crop graph: seeded crops like cells that call for as many decisions as the model makes."""

from __future__ import annotations

import numpy as np

from ctcnet.contract.golden_sample import GoldenCase, GoldenSample
from ctcnet.export.parity import random_crops
from ctcnet.model_card import ModelCard
from ctcnet.runtime import Predictions, Predictor

CANDIDATES = 192
MOST_CROPS, FEWEST_CROPS = 8, 2
MOST_PIXELS = 8 * 5 * 64 * 64
"""Pixels of all crops of a sample together; with `LEVELS` of counts they take some 50 kB in the file."""
LEVELS = 256
"""Crops are rounded to this many levels: their noise would be most of the file."""


def golden_sample(
    predictor: Predictor,
    dtype: np.dtype,
    probability_tolerance: float,
    atypicality_tolerance: float = 1e-3,
) -> GoldenSample:
    """Sample of a model: its answers to the same crops under its own levels, under given ones and under some of both.

    Crops for which a decision is within twice the guard band are left out, unless all are. Of the others one is taken
    for each class and answer (assigned or not) in turn, and one that is atypical. The same predictor gives the same
    sample.

    Args:
        predictor: the model whose answers are the right ones.
        dtype: type of crops that it takes, uint16 or float32.
        probability_tolerance, atypicality_tolerance: see `GoldenSample`.
    """
    card = predictor.card
    rng = np.random.default_rng(0)
    half = CANDIDATES // 2
    candidates = np.concatenate([cell_crops(card, half, rng), _rounded(random_crops(card, half, rng), card)])
    levels = _levels(card)
    answers = [predictor.predict(candidates.astype(dtype), *level) for level in levels]
    chosen = _choose(answers, card)
    cases = tuple(
        GoldenCase(*level, answer.probabilities[chosen], answer.unassigned[chosen], answer.atypicality[chosen])
        for level, answer in zip(levels, answers, strict=True)
    )
    return GoldenSample(candidates[chosen], cases, probability_tolerance, atypicality_tolerance)


def cell_crops(card: ModelCard, count: int, rng: np.random.Generator) -> np.ndarray:
    """Crops of one round cell each: a soft-edged disk per channel on the model's own levels, shot noise.

    Returns:
        uint16 (count, C, S, S), rounded to `LEVELS` levels of the panel's full scale.
    """
    channels, side = len(card.panel.channels), card.crop_size_px
    background, scale = (level[:, None, None] for level in _own_levels(card))
    grid = np.arange(side) - (side - 1) / 2
    radius = rng.uniform(0.08, 0.2, (count, 1, 1, 1)) * side * np.exp(rng.normal(0, 0.15, (count, channels, 1, 1)))
    dy, dx = rng.normal(0, 0.02, (2, count, channels, 1, 1)) * side
    stretch = np.exp(rng.normal(0, 0.15, (count, 1, 1, 1)))
    distance = np.hypot((grid[:, None] - dy) * stretch, (grid - dx) / stretch)
    disk = 1 / (1 + np.exp((distance - radius) / (0.02 * side)))
    brightness = np.exp(rng.normal(0, 1.2, (count, channels, 1, 1)))
    brightness *= rng.uniform(size=brightness.shape) < 0.6  # the other stains are absent
    brightness[:, 0] = np.exp(rng.normal(0, 0.5, (count, 1, 1)))
    mean = background + scale * brightness * disk
    return _rounded(mean + rng.standard_normal(mean.shape) * np.sqrt(mean), card)


def _rounded(counts: np.ndarray, card: ModelCard) -> np.ndarray:
    full = card.panel.full_scale
    step = (full + 1) // LEVELS
    return np.clip(np.rint(counts / step) * step, 0, full).astype(np.uint16)


def _own_levels(card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """The model's levels; some of the camera's range where it has none. Float64 (C,) each."""
    channels, full, own = len(card.panel.channels), card.panel.full_scale, card.normalization
    background = np.full(channels, 0.02 * full) if own.background is None else np.array(own.background)
    return np.maximum(background, 0), np.full(channels, 0.1 * full) if own.scale is None else np.array(own.scale)


def _levels(card: ModelCard) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Background and scale, float32 (C,), of each case: none given, all given, every second channel's given."""
    background, scale = _own_levels(card)
    given = (0.8 * background).astype(np.float32), (1.25 * scale).astype(np.float32)
    nan = np.full(len(background), np.nan, dtype=np.float32)
    second = np.arange(len(background)) % 2 == 1
    return (nan, nan), given, (np.where(second, given[0], nan), np.where(second, given[1], nan))


def _choose(answers: list[Predictions], card: ModelCard) -> np.ndarray:
    """Rows of the crops to keep, by the answers of the first case."""
    size = len(card.panel.channels) * card.crop_size_px**2
    wanted = int(np.clip(MOST_PIXELS // size, FEWEST_CROPS, MOST_CROPS))
    margin = np.min([decision_margin(answer, card) for answer in answers], axis=0)
    rows = np.flatnonzero(margin > 2 * card.guard_band)
    if not rows.size:
        rows = np.sort(np.argsort(-margin, kind="stable")[:wanted])
    first = answers[0]
    atypical = first.atypicality[rows] > 1
    kinds = np.where(atypical, -1, 2 * first.probabilities[rows].argmax(axis=1) + first.unassigned[rows])
    turn = np.array([(kinds[:position] == kind).sum() for position, kind in enumerate(kinds)])
    return np.sort(rows[np.lexsort((rows, ~atypical, turn))[:wanted]])


def decision_margin(answer: Predictions, card: ModelCard) -> np.ndarray:
    """How far the answers may move before a decision does, float (N,)."""
    ordered = np.sort(answer.probabilities, axis=1)
    if card.conformal is None:
        threshold = np.abs(ordered[:, -1] - card.unassigned_below)
    else:
        threshold = np.abs(answer.probabilities - np.array(card.conformal.thresholds)).min(axis=1)
    typical = np.nan_to_num(np.abs(answer.atypicality - 1), nan=np.inf)
    return np.min([threshold, ordered[:, -1] - ordered[:, -2], typical], axis=0)
