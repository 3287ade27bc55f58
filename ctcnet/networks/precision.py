"""Parts of a network that must keep float32 when the rest runs in bf16."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_float32(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)` with autocast switched off and `x` as float32, where autocast is on; else just `function(x)`.

    bf16 keeps 8 bits of precision, so it cannot tell amounts of stain apart that differ by less than 1 %.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return function(x)
    with torch.autocast(x.device.type, enabled=False):
        return function(x.float())
