"""Sorting and medians of tensors; on a CPU by numpy, whose vector instructions sort 20 times faster than torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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
    ordered = ascending(values)
    number = ordered.shape[-1] - ordered.isnan().sum(-1, keepdim=True)
    return ordered.gather(-1, ((number - 1) // 2).clamp(min=0))[..., 0]
