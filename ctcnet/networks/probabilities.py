"""From logits to calibrated probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctcnet.model_card import ModelCard


class Probabilities(nn.Module):
    """(1 - share) softmax(logits / temperature) + share * prior.

    The share of the prior is what any answer may be wrong by for reasons that the network does not see: it bounds the
    log-odds, which a softmax lets run away (a contamination model; Huber 1964, Ann. Math. Statist. 35, 73).

    Args:
        card: its temperature, training prior and share; without a share the softmax alone.
    """

    prior: Tensor

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.temperature, self.share = card.temperature, card.prior_share
        self.register_buffer("prior", torch.tensor(card.training_prior, dtype=torch.float32))

    def forward(self, logits: Tensor) -> Tensor:
        """float32 (N, K), rows add up to 1."""
        certain = torch.softmax(logits.float() / self.temperature, dim=1)
        return certain if self.share is None else certain * (1 - self.share) + self.prior * self.share
