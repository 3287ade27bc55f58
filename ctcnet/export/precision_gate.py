"""The gate of a model of reduced precision: it must decide as the float32 model does, on crops it was not made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctcnet.errors import ParityError
from ctcnet.export.parity import decision_flips
from ctcnet.labels import CONTAINS_CTC
from ctcnet.model_card import ModelCard, fold_matrix
from ctcnet.progress import track
from ctcnet.runtime import Predictions
from ctcnet.runtime.conformal import ctc_classes

MOST_FLIPS = 1 / 1000
"""Share of the decisions that may differ outside the guard band."""
MOST_RECALL_LOSS = 0.005
LEAST_OF_CLASS = 200
"""Crops of a class below which its recall is shown and not judged: one crop would be more than `MOST_RECALL_LOSS`."""
MOST_TRIES = 16
"""Layers that are tried in float32 one by one when a model does not pass."""
_BINS = 15


class Recall(NamedTuple):
    """Share of a class's crops that are called so and not left unassigned.

    Attributes:
        float32, reduced: of the two models.
        crops: of the class.
    """

    float32: float
    reduced: float
    crops: int

    @property
    def too_low(self) -> bool:
        return self.crops >= LEAST_OF_CLASS and self.float32 - self.reduced > MOST_RECALL_LOSS


@dataclass(frozen=True)
class Gate:
    """What a comparison found.

    Attributes:
        crops: number of crops compared.
        flips_inside, flips_outside: decisions that differ, within the guard band and beyond it.
        probability_difference: largest.
        recalls: of the classes that contain a CTC, or of all where the labels do not say; {} without labels.
        calibration_error: of P(contains a CTC), float32 and reduced; None without labels.
    """

    crops: int
    flips_inside: int
    flips_outside: int
    probability_difference: float
    recalls: Mapping[str, Recall]
    calibration_error: tuple[float, float] | None

    @property
    def failures(self) -> tuple[str, ...]:
        """What is not let through, in words; () where the model passes."""
        found = []
        if self.flips_outside > MOST_FLIPS * self.crops:
            found.append(f"{self.flips_outside} of {self.crops} decisions differ outside the guard band")
        for name, recall in self.recalls.items():
            if recall.too_low:
                found.append(f"recall of {name} falls from {recall.float32:.4f} to {recall.reduced:.4f}")
        return tuple(found)

    @property
    def badness(self) -> tuple[int, float]:
        """Order of models that do not pass: by decisions that differ, then by recall lost."""
        return self.flips_outside, sum(max(recall.float32 - recall.reduced, 0) for recall in self.recalls.values())


def compare(expected: Predictions, found: Predictions, labels: np.ndarray | None, card: ModelCard) -> Gate:
    """Compare a model of reduced precision with the float32 one.

    Args:
        expected, found: answers of both to the same N crops.
        labels: (N,) int, true classes; None where they are not known. One that the panel cannot tell stands for that
            which it is called instead.
        card: of the reduced model, with its guard band.
    """
    flips = decision_flips(expected, found, card)
    difference = np.abs(expected.probabilities - found.probabilities)
    worst = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    recalls: dict[str, Recall] = {}
    errors = None
    if labels is not None:
        fold = fold_matrix(card.labels.classes, card.folded)
        true = labels if fold is None else fold.argmax(axis=1)[labels]
        contains_ctc = ctc_classes(card.labels)
        judged = contains_ctc if CONTAINS_CTC in card.labels.rollups else np.ones_like(contains_ctc)
        for k in map(int, np.flatnonzero(judged & (np.bincount(true, minlength=len(judged)) > 0))):
            own = true == k
            recalls[card.labels.classes[k]] = Recall(_called(expected, k, own), _called(found, k, own), int(own.sum()))
        if contains_ctc.any():
            positive = contains_ctc[true]
            before, after = (p.probabilities[:, contains_ctc].sum(1) for p in (expected, found))
            errors = calibration_error(before, positive), calibration_error(after, positive)
    return Gate(len(difference), int(flips.inside.sum()), int(flips.outside.sum()), worst, recalls, errors)


def _called(answers: Predictions, k: int, own: np.ndarray) -> float:
    """Share of the crops `own`, bool (N,), that are called class k and not left unassigned."""
    return float(((answers.probabilities.argmax(axis=1) == k) & ~answers.unassigned)[own].mean())


def calibration_error(p: np.ndarray, positive: np.ndarray) -> float:
    """Expected calibration error of a probability (N,) over 15 bins of equal width; positive (N,) bool."""
    place = np.minimum((p * _BINS).astype(int), _BINS - 1)
    return float(np.abs(np.bincount(place, p - positive, _BINS)).sum() / len(p))


def check_gate(gate: Gate, layers: Sequence[str], judge: Callable[[frozenset[str]], Gate], where: str | Path) -> None:
    """Refuse a model that does not pass, naming the layer to keep in float32.

    Each layer is tried in float32 in turn, the others reduced, `MOST_TRIES` of them at most.

    Args:
        gate: of the model.
        layers: names of the layers that are not float32.
        judge: gate of a model with these layers in float32 as well.
        where: file that the error names.

    Raises:
        ParityError: the model does not pass.
    """
    if not gate.failures:
        return
    tried = layers[:MOST_TRIES]
    gates = {name: judge(frozenset([name])) for name in track(tried, "looking for the layer to keep in float32")}
    ranked = sorted(gates, key=lambda name: gates[name].badness)
    best, after = ranked[0], gates[ranked[0]]
    effect = (
        f"{gate.flips_outside} decisions differ outside the guard band with it reduced, {after.flips_outside} without"
    )
    fix = (
        f"--keep-float {best} ({effect})"
        if not after.failures
        else f"no one layer is enough; begin with --keep-float {' '.join(ranked[:2])} ({best}: {effect})"
    )
    raise ParityError(
        f"does not decide as the float32 model does: {'; '.join(gate.failures)}",
        where=where,
        expected=f"at most {1000 * MOST_FLIPS:g} in 1,000 decisions that differ outside the guard band, and no loss of "
        f"more than {100 * MOST_RECALL_LOSS:g} points of recall of a class that contains a CTC",
        found=f"largest difference of a probability {gate.probability_difference:.3g}",
        fix=fix + "; no file was kept",
    )
