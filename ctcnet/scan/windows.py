"""Windows cut from an image at whole pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def cut_windows(image: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Windows of an image; on a CPU numpy copies whole rows, several times faster than torch gathers pixels.

    Args:
        image: (C, H, W) float32; may be a part of a larger one.
        top, left: (N,) int64, upper left pixels of windows that lie in the image.
        height, width: of every window in pixels.

    Returns:
        (C, N, height, width) float32, contiguous.
    """
    if image.device.type != "cpu":
        return image.unfold(1, height, 1).unfold(2, width, 1)[:, top, left].contiguous()
    pixels = image.numpy()
    windows = np.empty((len(pixels), len(top), height, width), np.float32)
    for event, (y, x) in enumerate(zip(top.tolist(), left.tolist(), strict=True)):
        windows[:, event] = pixels[:, y : y + height, x : x + width]
    return torch.from_numpy(windows)
