"""Crops like cells, and an embedding of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor


def _cells(count: int, seed: int = 0) -> Tensor:
    """Normalised crops (N, 2, 16, 16): a soft blob per channel over noise."""
    rng = np.random.default_rng(seed)
    grid = np.arange(16) - 7.5
    width = rng.uniform(2.0, 3.0, (count, 2, 1, 1))
    blob = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * width**2))
    level = np.exp(0.3 * rng.normal(size=(count, 2, 1, 1)))
    return torch.from_numpy((level * blob + 0.05 * rng.normal(size=(count, 2, 16, 16))).astype(np.float32))


@pytest.fixture(scope="session")
def make_cells() -> Callable[..., Tensor]:
    """Makes crops like cells, see `_cells`."""
    return _cells


@pytest.fixture(scope="session")
def embed() -> Callable[[Tensor], Tensor]:
    """Eight fixed projections of the pixels, rectified, as an embedding (N, 8)."""
    weight = torch.from_numpy(np.random.default_rng(5).normal(size=(2 * 16 * 16, 8)).astype(np.float32) / 16)
    return lambda x: torch.relu(x.flatten(1) @ weight)
