"""ReLU with an upper bound, so that activations keep their precision in INT8."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LIMIT = 6.0
"""Bound of ReLU6 (Krizhevsky 2010). Behind a batch norm it is reached by one value in a thousand; without it a bright
speck brings an activation to 50, and the steps of INT8 to more than a tenth of what a dim cell gives."""
UNBOUNDED = 1e30
"""Limit of a network without bounds: finite, so that averages of it are finite."""


class BoundedReLU(nn.Module):
    """min(max(x, 0), limit). The limit is part of the state, so that a checkpoint answers by its own.

    Args:
        limit: largest value.
    """

    limit: Tensor

    def __init__(self, limit: float = LIMIT) -> None:
        super().__init__()
        self.register_buffer("limit", torch.tensor(limit))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape and float type, to the same."""
        return torch.minimum(F.relu(x), self.limit.to(x.dtype))

    def deployable(self) -> nn.Module:
        """The same as one operator with constant bounds, which runtimes fuse with the convolution before it."""
        limit = float(self.limit)
        return nn.ReLU() if limit >= UNBOUNDED else nn.Hardtanh(0.0, limit)


def set_limit(network: nn.Module, limit: float) -> None:
    """Give every `BoundedReLU` of a network this limit."""
    for module in network.modules():
        if isinstance(module, BoundedReLU):
            module.limit.fill_(limit)
