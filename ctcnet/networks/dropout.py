"""Dropout whose mask depends on the sample and on nothing else, so that resumed and distributed runs reproduce it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctcnet.errors import SettingError
from ctcnet.seeded_random import uniform

EMBEDDING_STREAM, SHAPE_STREAM = 101, 102
"""Streams of random numbers, one for each place where features are dropped."""


class SeededDropout(nn.Module):
    """Dropout on an embedding; the mask is a pure function of each sample's seed and the feature's index.

    Args:
        probability: share of features set to 0 in training, 0 to below 1; the others grow by 1 / (1 - probability).
        stream: of the random numbers, see `ctcnet.seeded_random.uniform`.

    Raises:
        SettingError: probability out of range; or, in training with probability above 0, no seeds given.
    """

    def __init__(self, probability: float, stream: int = EMBEDDING_STREAM) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise SettingError("dropout is out of range", expected="0 <= dropout < 1", found=str(probability))
        self.probability, self.stream = probability, stream

    def forward(self, embedding: Tensor, sample_seed: Tensor | None) -> Tensor:
        """Drop features of `embedding` (N, D) in training; `sample_seed` is (N,) int64."""
        if not self.training or self.probability == 0.0:
            return embedding
        if sample_seed is None:
            raise SettingError(
                "dropout in training needs sample_seed",
                expected="sample_seed of shape (N,), int64",
                fix="pass the batch's sample_seed, or set dropout to 0",
            )
        kept = uniform(sample_seed, self.stream, embedding.shape[1]) >= self.probability
        return torch.where(kept, embedding / (1.0 - self.probability), torch.zeros_like(embedding))
