"""Answers of a classifier, and what every classifier offers, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ctcnet.errors import ModelFileError
from ctcnet.model_card import ModelCard
from ctcnet.runtime.cartridge_atypicality import CartridgeReference

CPU_BATCH_SIZE = 64
"""Crops at once on a CPU: what a network makes of more of them leaves a core's cache."""
GPU_BATCH_SIZE = 1024
"""The same on a GPU; chosen, not measured there."""


class Predictions(NamedTuple):
    """Answers for N crops, in the order of the crops.

    Attributes:
        probabilities: float32 (N, K), calibrated, rows sum to 1; they refer to the prior on the model's card.
        unassigned: bool (N,), true where the evidence is too weak for a class, or the crop is atypical; see
            `ctcnet.runtime.conformal.judge_unassigned`.
        atypicality: float32 (N,), above 1 atypical; NaN where the model has no such score.
        embedding: float32 (N, D), what the last layer sees; D is 0 where embeddings were not kept.
    """

    probabilities: np.ndarray
    unassigned: np.ndarray
    atypicality: np.ndarray
    embedding: np.ndarray


class Predictor(Protocol):
    """A model that answers for crops at its own scale: an ONNX file or a checkpoint."""

    @property
    def card(self) -> ModelCard:
        """What the model says about itself."""
        ...

    @property
    def cartridge_reference(self) -> CartridgeReference | None:
        """What the leukocytes of known cartridges are like; None where the model holds no such reference."""
        ...

    @property
    def batch_size(self) -> int:
        """Crops at once that suit where the model runs, see `batch_size_on`."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Calls of `predict` that may run side by side in threads, and that use the machine well."""
        ...

    def predict(
        self, crops: np.ndarray, background: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> Predictions:
        """Classify crops that share their levels.

        Args:
            crops: (N, C, S, S), uint16 or float32 counts, channels and size as on the card.
            background: float32 (C,), counts without stain; None or NaN stands for the model's own.
            scale: float32 (C,), counts above background that stand for 1; None or NaN stands for the model's own.
        """
        ...


def batch_size_on(device: str) -> int:
    """Crops at once that suit a kind of device: 'cpu', or anything else for a GPU."""
    return CPU_BATCH_SIZE if device == "cpu" else GPU_BATCH_SIZE


def check_probabilities(probabilities: np.ndarray, crops: np.ndarray, where: str | Path) -> None:
    """Raise ModelFileError where a model answers pixels that are numbers with NaN or infinity.

    Such answers would be counted as some class. A crop with a pixel that is no number may have them.

    Args:
        probabilities: float32 (N, K).
        crops: (N, C, S, S), what was asked.
        where: file or name of the model.
    """
    strange = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    answerable = int(np.isfinite(crops[strange]).all(axis=(1, 2, 3)).sum())
    if answerable:
        raise ModelFileError(
            "answers with probabilities that are no numbers",
            where=where,
            expected="rows of probabilities that sum to 1",
            found=f"NaN or infinity for {answerable} of {len(probabilities)} crops",
            fix="look for huge values in those crops (no data marked by -3.4e38); without such ones the weights are "
            "damaged: copy, export or train it again",
        )


def entropy_nats(probabilities: np.ndarray) -> np.ndarray:
    """Shannon entropy of each row in nats: float32 (N,) from (N, K); 0 is certain, ln K is undecided."""
    p = probabilities.astype(np.float64)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1).astype(np.float32)


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Join answers for consecutive crops; at least one part."""
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))
