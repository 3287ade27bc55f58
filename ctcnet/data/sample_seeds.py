"""Seeds of samples and orders of epochs: pure functions of (seed, epoch, row)."""

from __future__ import annotations

import numpy as np


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
