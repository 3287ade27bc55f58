"""Parity gate: an exported file must give the answers of the checkpoint it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctcnet.errors import ParityError
from ctcnet.model_card import ModelCard
from ctcnet.runtime import Predictions, Predictor
from ctcnet.runtime.conformal import prediction_sets

BATCH_SIZES = (1, 2, 7, 64)
LARGEST_DIFFERENCE = 1e-4
"""Largest difference between probabilities that is let through."""
LARGEST_ATYPICALITY_DIFFERENCE = 1e-3
"""Largest difference between atypicalities that is let through, relative to the larger of 1 and the value."""

_FIX = "do not use this export; report it with the checkpoint"


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    Attributes:
        crops: number of crops compared.
        probability_difference: largest absolute difference between probabilities.
        embedding_difference: largest absolute difference between embeddings, relative to the largest embedding value.
        atypicality_difference: largest difference, as in `LARGEST_ATYPICALITY_DIFFERENCE`; 0 where both have none.
        decisions_in_guard_band: crops whose decision differs, all of them within the card's guard band.
    """

    crops: int
    probability_difference: float
    embedding_difference: float
    atypicality_difference: float
    decisions_in_guard_band: int

    def to_text(self) -> str:
        """What was found, in words."""
        excused = f" but {self.decisions_in_guard_band} in the guard band" if self.decisions_in_guard_band else ""
        return (
            f"{self.crops} predictions in batches of 1, 2, 7 and 64: "
            f"worst difference {self.probability_difference:.2g} in a probability, "
            f"{self.embedding_difference:.2g} relative in the embedding; every decision equal{excused}"
        )


class Flips(NamedTuple):
    """Decisions of N crops that differ, bool (N,) each.

    Attributes:
        inside: within the guard band of the card, where runtimes may differ.
        outside: beyond it.
    """

    inside: np.ndarray
    outside: np.ndarray


def check_parity(reference: Predictor, exported: Predictor, where: str | Path, dtype: np.dtype) -> Parity:
    """Compare two models on random crops in batches of 1, 2, 7 and 64, with several levels, NaN among them.

    Args:
        reference, exported: the checkpoint and the exported model; both have the reference's card.
        where: file that the error names.
        dtype: type of the crops, uint16 or float32.

    Raises:
        ParityError: probabilities differ by more than `LARGEST_DIFFERENCE`, atypicalities by more than
            `LARGEST_ATYPICALITY_DIFFERENCE`, or a decision outside the guard band does.
    """
    card = reference.card
    rng = np.random.default_rng(0)
    total = flips = 0
    worst = worst_embedding = worst_atypicality = 0.0
    for size in BATCH_SIZES:
        crops = random_crops(card, size, rng).astype(dtype)
        for background, scale in _levels(card, rng):
            expected = reference.predict(crops, background, scale)
            found = exported.predict(crops, background, scale)
            total += size
            worst = max(worst, _probability_difference(expected, found, where))
            span = max(_largest(expected.embedding), 1e-6)
            worst_embedding = max(worst_embedding, _largest(expected.embedding - found.embedding) / span)
            worst_atypicality = max(worst_atypicality, _atypicality_difference(expected, found, where))
            flips += _count_flips(expected, found, card, where)
    return Parity(total, worst, worst_embedding, worst_atypicality, flips)


def random_crops(card: ModelCard, count: int, rng: np.random.Generator) -> np.ndarray:
    """Crops like those of cells: a background, a soft blob per channel of log-uniform brightness, shot noise.

    Returns:
        uint16 (count, C, S, S) within the panel's bit depth.
    """
    channels, side, full = len(card.panel.channels), card.crop_size_px, card.panel.full_scale
    grid = np.arange(side) - (side - 1) / 2
    shift = rng.uniform(-0.1, 0.1, (2, count, channels, 1, 1)) * side
    width = rng.uniform(0.08, 0.25, (count, channels, 1, 1)) * side
    distance = (grid[:, None] - shift[0]) ** 2 + (grid[None] - shift[1]) ** 2
    peak = full * np.exp(rng.uniform(np.log(0.005), np.log(1.2), (count, channels, 1, 1)))
    mean = full * rng.uniform(0.01, 0.08, (count, channels, 1, 1)) + peak * np.exp(-distance / (2 * width**2))
    noisy = mean + rng.standard_normal(mean.shape) * np.sqrt(mean)
    return np.clip(np.rint(noisy), 0, full).astype(np.uint16)


def _levels(card: ModelCard, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    channels, full = len(card.panel.channels), card.panel.full_scale
    own = np.full(channels, np.nan, dtype=np.float32)
    yield own, own
    for _ in range(2):
        background = (full * rng.uniform(0.01, 0.08, channels)).astype(np.float32)
        scale = (full * np.exp(rng.uniform(np.log(0.03), np.log(0.6), channels))).astype(np.float32)
        yield background, scale
    yield np.where(np.arange(channels) % 2 == 0, own, background), np.where(np.arange(channels) % 2 == 0, own, scale)


def _probability_difference(expected: Predictions, found: Predictions, where: str | Path) -> float:
    """Largest difference between probabilities.

    Raises:
        ParityError: it is above `LARGEST_DIFFERENCE`, or no number.
    """
    difference = _largest(expected.probabilities - found.probabilities)
    return _within(difference, LARGEST_DIFFERENCE, "probabilities", where)


def _atypicality_difference(expected: Predictions, found: Predictions, where: str | Path) -> float:
    """Largest difference between atypicalities, NaN equal to NaN.

    Raises:
        ParityError: it is above `LARGEST_ATYPICALITY_DIFFERENCE`, or only one of both is a number.
    """
    there = ~(np.isnan(expected.atypicality) & np.isnan(found.atypicality))
    if not there.any():
        return 0.0
    reference = expected.atypicality[there]
    difference = _largest((reference - found.atypicality[there]) / np.maximum(1, np.abs(reference)))
    return _within(difference, LARGEST_ATYPICALITY_DIFFERENCE, "atypicality", where)


def _within(difference: float, limit: float, what: str, where: str | Path) -> float:
    if difference > limit:
        raise ParityError(
            f"exported model does not give the checkpoint's {what}",
            where=where,
            expected=f"a largest difference of {limit:g}",
            found=f"{difference:.3g}",
            fix=_FIX,
        )
    return difference


def _largest(values: np.ndarray) -> float:
    """Largest absolute value; infinite where a value is no number, so that no comparison passes over it."""
    return float(np.abs(values).max()) if np.isfinite(values).all() else float("inf")


def _near_a_threshold(expected: Predictions, found: Predictions, card: ModelCard) -> np.ndarray:
    """Crops that the guard band excuses from being assigned alike, bool (N,).

    The atypicality is within the band of 1, or, with conformal sets, a class is in the set of one side alone and within
    the band of its threshold, or, without, the largest probability is within the band of its threshold.
    """
    sets, others = prediction_sets(expected.probabilities, card), prediction_sets(found.probabilities, card)
    hardly_typical = np.abs(expected.atypicality - 1) < card.guard_band
    if card.conformal is None or sets is None or others is None:
        return hardly_typical | (np.abs(expected.probabilities.max(axis=1) - card.unassigned_below) < card.guard_band)
    near = np.abs(expected.probabilities - np.array(card.conformal.thresholds)) < card.guard_band
    return hardly_typical | ((sets != others) & near).any(axis=1)


def decision_flips(expected: Predictions, found: Predictions, card: ModelCard) -> Flips:
    """Crops that get another class, or that one side alone leaves unassigned."""
    ordered = np.sort(expected.probabilities, axis=1)
    close_classes = ordered[:, -1] - ordered[:, -2] < card.guard_band
    label_flips = expected.probabilities.argmax(axis=1) != found.probabilities.argmax(axis=1)
    close_threshold = _near_a_threshold(expected, found, card)
    if card.conformal is not None:  # whether the most probable class is in the set turns with that class
        close_threshold |= label_flips & close_classes
    refusal_flips = expected.unassigned != found.unassigned
    outside = (label_flips & ~close_classes) | (refusal_flips & ~close_threshold)
    return Flips((label_flips | refusal_flips) & ~outside, outside)


def _count_flips(expected: Predictions, found: Predictions, card: ModelCard, where: str | Path) -> int:
    """Decisions that differ within the guard band.

    Raises:
        ParityError: one differs outside it.
    """
    flips = decision_flips(expected, found, card)
    outside = int(flips.outside.sum())
    if outside:
        raise ParityError(
            f"exported model decides differently for {outside} crops outside the guard band of {card.guard_band:g}",
            where=where,
            fix=_FIX,
        )
    return int(flips.inside.sum())
