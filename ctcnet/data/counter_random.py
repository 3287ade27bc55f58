"""Random numbers that are a pure function of (seed, epoch, row), so that no order, worker or process changes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LOW_32 = 0xFFFFFFFF


def _splitmix64(values: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64 (Steele, Lea and Flood 2014; public domain) on uint64 values."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def sample_seeds(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
    """Seed of each sample.

    Args:
        seed: seed of the run, 0 or greater.
        epoch: epoch, 0 or greater.
        rows: (N,) integers, 0 or greater.

    Returns:
        (N,) int64, 0 or greater.
    """
    run = _splitmix64(np.array([seed], dtype=np.uint64))
    run = _splitmix64(run ^ np.uint64(epoch))
    return (_splitmix64(run ^ rows.astype(np.uint64)) >> np.uint64(1)).astype(np.int64)


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Permutation of `count` rows for one epoch, int64 (count,)."""
    return np.random.default_rng([seed, epoch]).permutation(count)


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
        stream: number of the stream, so that two uses of one seed do not see the same numbers.
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
