"""Dropout whose mask depends on the sample and on nothing else, so that resumed and distributed runs reproduce it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctcnet.errors import SettingError

_LOW_32 = 0xFFFFFFFF


def _mix(h: Tensor) -> Tensor:
    """Finaliser of MurmurHash3 (public domain) on 32-bit values held in int64."""
    h = h ^ (h >> 16)
    h = (h * 0x85EBCA6B) & _LOW_32
    h = h ^ (h >> 13)
    h = (h * 0xC2B2AE35) & _LOW_32
    return h ^ (h >> 16)


def seeded_uniform(sample_seed: Tensor, count: int) -> Tensor:
    """Numbers in [0, 1) that are a pure function of the seed and the position.

    Args:
        sample_seed: (N,) int64.
        count: numbers per sample.

    Returns:
        (N, count) float32.
    """
    low = _mix(sample_seed & _LOW_32)
    seed = _mix(low ^ ((sample_seed >> 32) & _LOW_32))
    position = _mix(torch.arange(1, count + 1, device=sample_seed.device, dtype=torch.int64))
    bits = _mix(seed[:, None] ^ position[None, :])
    return (bits >> 8).to(torch.float32) / float(1 << 24)


class SeededDropout(nn.Module):
    """Dropout on an embedding; the mask is a pure function of each sample's seed and the feature's index.

    Args:
        probability: share of features set to 0 in training, 0 to below 1; the others grow by 1 / (1 - probability).

    Raises:
        SettingError: probability out of range; or, in training with probability above 0, no seeds given.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise SettingError("dropout is out of range", expected="0 <= dropout < 1", found=str(probability))
        self.probability = probability

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
        kept = seeded_uniform(sample_seed, embedding.shape[1]) >= self.probability
        return torch.where(kept, embedding / (1.0 - self.probability), torch.zeros_like(embedding))
