"""Values of a batch of planes at places between pixels."""

from __future__ import annotations

from torch import Tensor


def sample(planes: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear interpolation; beyond the border the border's value.

    Args:
        planes: (B, h, w) float32.
        image: int64, row of the batch, broadcast against `y` and `x`.
        y, x: float32, places in pixels of the planes.

    Returns:
        Values, in the shape of `y`.
    """
    height, width = planes.shape[-2:]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor(), x.floor()
    down, across = y - top, x - left
    flat = planes.reshape(-1)
    start = (image * height + top.long()) * width + left.long()
    right = (left < width - 1).long()
    below = (top < height - 1).long() * width
    corners = (start, start + right, start + below, start + below + right)
    values = [flat.index_select(0, corner.reshape(-1)).view(corner.shape) for corner in corners]
    return values[0].lerp(values[1], across).lerp(values[2].lerp(values[3], across), down)
