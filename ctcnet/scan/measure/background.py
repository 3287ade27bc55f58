"""Local background of events: the stain between the cells around them."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.scan.measure.patches import barred, pixel_count, weight
from ctcnet.scan.order_statistics import ascending

FEWEST_SAMPLES = 12
"""With fewer free samples around an event than this, their median says too little."""

LOW_PERCENTILE = 0.1


def local_background(samples: Tensor, free: Tensor, typical: Tensor) -> Tensor:
    """Background of each channel around each event.

    It is the median (the lower of two middle ones) over the samples outside all cells. Where cells leave fewer than
    `FEWEST_SAMPLES`, the typical background of the image is taken, as far as it lies between the lowest sample and
    their `LOW_PERCENTILE`.

    Args:
        samples: (C, N, q, q) float32 counts, finite.
        free: (N, q, q) bool, samples outside all cells.
        typical: (C,) float32, typical background of the image in counts.

    Returns:
        (C, N) float32.
    """
    channels, events = len(samples), samples.shape[1]
    flat = samples.reshape(channels, events, -1)
    number = pixel_count(free).long()
    middle = (number - 1).clamp_min(0) // 2
    ordered = ascending(flat - barred(weight(free)).flatten(1))  # what is not free is infinite and comes last
    background = ordered.gather(2, middle[:, None].expand(channels, -1, 1))[..., 0]
    crowded = (number < FEWEST_SAMPLES).nonzero().squeeze(1)
    if len(crowded):
        values = flat[:, crowded]
        rank = 1 + int((values.shape[2] - 1) * LOW_PERCENTILE)
        low = values.kthvalue(rank, dim=2).values
        background[:, crowded] = torch.minimum(torch.maximum(typical[:, None], values.amin(2)), low)
    return background
