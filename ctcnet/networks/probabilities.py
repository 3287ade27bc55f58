"""From logits to calibrated probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctcnet.model_card import ModelCard, fold_matrix


class Probabilities(nn.Module):
    """(1 - share) softmax(logits / temperature) + share * prior, those of classes that cannot be told folded first.

    The share of the prior is what any answer may be wrong by for reasons that the network does not see: it bounds the
    log-odds, which a softmax lets run away (a contamination model; Huber 1964, Ann. Math. Statist. 35, 73).

    Args:
        card: its temperature, training prior, share and folded classes; without these the softmax alone.
    """

    prior: Tensor
    fold: Tensor | None

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.temperature, self.share = card.temperature, card.prior_share
        fold = fold_matrix(card.labels.classes, card.folded)
        self.register_buffer("fold", None if fold is None else torch.from_numpy(fold))
        self.register_buffer("prior", torch.tensor(card.training_prior, dtype=torch.float32))

    def forward(self, logits: Tensor) -> Tensor:
        """float32 (N, K), rows add up to 1."""
        certain = torch.softmax(logits.float() / self.temperature, dim=1)
        certain = certain if self.fold is None else certain @ self.fold
        return certain if self.share is None else certain * (1 - self.share) + self.prior * self.share
