"""Events at the border of what was scanned: beyond it a crop holds nothing but the background."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.simulate.draws import Draws

NUCLEUS_RADIUS_UM = 3.4
"""Of an event that is cut: its crop is centred on what is left of the nucleus (leukocytes: 7.0 um wide)."""
EDGE_UM = (-1.5, 8.0)
"""Place of the border from the event's centre; below 0 less than half of the nucleus is seen."""


def cut_at_edge(
    counts: Tensor, share: Tensor, fill_counts: Tensor, full_scale: int, pixel_size_um: float, draws: Draws
) -> Tensor:
    """Counts (N, C, S, S) uint16, a `share` (N,) of them cut by a border on one side and centred on what is left.

    Args:
        fill_counts: (N, C) background, which stands beyond the border as it does in crops cut from frames.
        full_scale: largest count.
    """
    count, size = len(counts), counts.shape[-1]
    chosen = draws.chance((count,), share)
    edge_um = draws.uniform((count,), *EDGE_UM)
    side = draws.integers((count,), 0, 3)
    shift_um = (NUCLEUS_RADIUS_UM - edge_um).clamp_min(0) / 2
    shift_px = (shift_um / pixel_size_um).round().long()
    border_px = (size / 2 + (edge_um + shift_um) / pixel_size_um).round().long()
    fill = fill_counts.round().clamp(0, full_scale)[:, :, None, None].int()
    result = counts.int()  # torch has no indexing of uint16
    for turns in range(4):
        rows = torch.nonzero(chosen & (side == turns))[:, 0]
        if len(rows) == 0:
            continue
        turned = torch.rot90(result[rows], turns, (2, 3))
        column = torch.arange(size, device=counts.device)
        source = (column - shift_px[rows, None]).abs()[:, None, None].expand(-1, *turned.shape[1:3], -1)
        moved = turned.gather(3, source)
        beyond = (column >= border_px[rows, None])[:, None, None]
        result[rows] = torch.rot90(torch.where(beyond, fill[rows], moved), -turns, (2, 3))
    return result.to(counts.dtype)
