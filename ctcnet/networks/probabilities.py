"""From logits to calibrated probabilities."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ctcnet.labels import CONTAINS_CTC
from ctcnet.log_odds import LogOddsShift
from ctcnet.model_card import ModelCard, fold_matrix


class Probabilities(nn.Module):
    """softmax(logits / temperature), those of classes that the panel cannot tell added to what they are called, then
    the log-odds of P(contains a CTC) shifted.

    Args:
        card: its temperature, folded classes and shift.
    """

    fold: Tensor | None

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.temperature = card.temperature
        fold = fold_matrix(card.labels.classes, card.folded)
        self.register_buffer("fold", None if fold is None else torch.from_numpy(fold))
        shift = card.ctc_log_odds
        self.shift = None if shift is None else GroupShift(shift, np.array(card.labels.rollup_mask(CONTAINS_CTC)))

    def forward(self, logits: Tensor) -> Tensor:
        """float32 (N, K), rows add up to 1."""
        probabilities = torch.softmax(logits.float() / self.temperature, dim=1)
        if self.fold is not None:
            probabilities = probabilities @ self.fold
        return probabilities if self.shift is None else self.shift(probabilities)


class GroupShift(nn.Module):
    """`LogOddsShift.apply` in operators of float32.

    Args:
        shift: of the log-odds.
        inside: (K,) bool, the group of classes.
    """

    sides: Tensor
    inside: Tensor
    lower: Tensor
    upper: Tensor
    slopes: Tensor

    def __init__(self, shift: LogOddsShift, inside: np.ndarray) -> None:
        super().__init__()
        knots, shifts = np.array(shift.knots), np.array(shift.shifts)
        slopes = np.diff(shifts) / np.diff(knots)
        self.first = float(shifts[0] - slopes @ knots[:-1])
        buffers = {
            "sides": np.stack([inside, ~inside], axis=1),
            "inside": inside,
            "lower": knots[:-1],
            "upper": knots[1:],
            "slopes": slopes,
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, probabilities: Tensor) -> Tensor:
        """float32 (N, K), rows add up to 1."""
        logs = torch.log(probabilities @ self.sides)
        log_odds = logs[:, :1] - logs[:, 1:]
        within = torch.minimum(torch.maximum(log_odds, self.lower), self.upper)  # of each stretch, what is behind it
        factor = torch.exp((within * self.slopes).sum(dim=1, keepdim=True) + self.first)
        weighted = probabilities * (1 + (factor - 1) * self.inside)
        return weighted / weighted.sum(dim=1, keepdim=True)
