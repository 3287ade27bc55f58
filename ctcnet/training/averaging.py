"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


def averaged_copy(network: nn.Module) -> nn.Module:
    """A copy that takes no gradients and stays in evaluation mode, to hold the average."""
    average = copy.deepcopy(network).eval()
    return average.requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `network`: average = d * average + (1 - d) * network.

    d = min(decay, (1 + step) / (10 + step)), so that the first steps do not weigh for long. Running statistics of batch
    norm are averaged like weights; counters are copied.

    Args:
        average, network: modules with the same state.
        decay: 0 to below 1.
        step: optimizer steps taken before.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    moving: list[torch.Tensor] = []
    towards: list[torch.Tensor] = []
    state = network.state_dict()
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            moving.append(value)
            towards.append(state[name])
        else:
            value.copy_(state[name])
    torch._foreach_lerp_(moving, towards, share)  # pyright: ignore[reportPrivateImportUsage]
