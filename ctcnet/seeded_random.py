"""Random numbers in torch that are a pure function of a seed per sample, so that no order, worker or process changes
them."""

from __future__ import annotations

import torch
from torch import Tensor

_LOW_32 = 0xFFFFFFFF


def _mix(h: Tensor) -> Tensor:
    """Finaliser of MurmurHash3 (public domain) on 32-bit values held in int64."""
    h = h ^ (h >> 16)
    h = (h * 0x85EBCA6B) & _LOW_32
    h = h ^ (h >> 13)
    h = (h * 0xC2B2AE35) & _LOW_32
    return h ^ (h >> 16)


def uniform(sample_seed: Tensor, stream: int, count: int) -> Tensor:
    """Numbers in [0, 1) that depend on the sample's seed, the stream and the position, and on nothing else.

    Args:
        sample_seed: (N,) int64.
        stream: number of the stream, so that two uses of one seed do not see the same numbers; below 4096.
        count: numbers per sample, below a million.

    Returns:
        (N, count) float32 on the device of the seeds.
    """
    seed = _mix(sample_seed & _LOW_32)
    seed = _mix(seed ^ ((sample_seed >> 32) & _LOW_32))
    first = 1 + (stream << 20)
    position = _mix(torch.arange(first, first + count, device=sample_seed.device, dtype=torch.int64))
    bits = _mix(seed[:, None] ^ position[None])
    return (bits >> 8).to(torch.float32) / float(1 << 24)
