"""From logits to calibrated probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctcnet.model_card import ModelCard, fold_matrix


class Probabilities(nn.Module):
    """softmax(logits / temperature), those of classes that the panel cannot tell added to what they are called.

    Args:
        card: its temperature and folded classes.
    """

    fold: Tensor | None

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.temperature = card.temperature
        fold = fold_matrix(card.labels.classes, card.folded)
        self.register_buffer("fold", None if fold is None else torch.from_numpy(fold))

    def forward(self, logits: Tensor) -> Tensor:
        """float32 (N, K), rows add up to 1."""
        probabilities = torch.softmax(logits.float() / self.temperature, dim=1)
        return probabilities if self.fold is None else probabilities @ self.fold
