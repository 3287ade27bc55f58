"""Sorting and order statistics of tensors; on a CPU by numpy, whose vector instructions are many times faster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_LONG = 1024
"""Values of a row from which on selecting one of them is faster than sorting them all."""


def ascending(values: Tensor) -> Tensor:
    """Values in ascending order along the last axis, NaN last."""
    if values.device.type != "cpu":
        return values.sort(-1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))


def lower_median(values: Tensor) -> Tensor:
    """Median along the last axis, the lower of two middle values; NaN are left out.

    Returns:
        The other axes; NaN where nothing is left.
    """
    return of_rank(values, lambda number: (number - 1) // 2)


def of_rank(values: Tensor, rank: Callable[[Tensor], Tensor]) -> Tensor:
    """Value of a rank along the last axis, 0 being the least; NaN are left out.

    Args:
        values: (..., L) float, L at least 1.
        rank: from how many values are left (..., 1) int64, at most L, to the rank, below that number; for none of them
            it may give any number.

    Returns:
        (...); NaN where nothing is left.
    """
    number = values.shape[-1] - _missing(values)
    index = rank(number).clamp(0, values.shape[-1] - 1)
    if values.device.type != "cpu" or values.shape[-1] < _LONG:
        return ascending(values).gather(-1, index)[..., 0]
    rows = values.reshape(-1, values.shape[-1]).numpy()
    chosen = [np.partition(row, at)[at] for row, at in zip(rows, index.flatten().tolist(), strict=True)]
    return torch.from_numpy(np.array(chosen, dtype=rows.dtype)).reshape(values.shape[:-1])


def _missing(values: Tensor) -> Tensor:
    """Number of NaN along the last axis, (..., 1) int64.

    A sum that is no NaN rules them out for a fifth of the work of counting them.
    """
    if not values.sum(-1).isnan().any():
        return torch.zeros((*values.shape[:-1], 1), dtype=torch.int64, device=values.device)
    return values.isnan().sum(-1, keepdim=True)
