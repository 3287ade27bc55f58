"""The reduced channels of a frame in which events are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ctcnet.export.frame_graph.arrays.array import FLOAT, Array, apply
from ctcnet.export.frame_graph.arrays.shapes import axis, cut, pad, squeeze
from ctcnet.export.frame_graph.background import FrameBackground


@dataclass(frozen=True)
class WorkingPlanes:
    """The twin of `ctcnet.scan.detect.working_image.WorkingImage`, and the background beside it.

    Attributes:
        planes: channel -> (h, w) float32 counts.
        factor: pixels per working pixel.
        pixel_um: size of a working pixel.
        background: of all channels.
    """

    planes: Mapping[int, Array]
    factor: int
    pixel_um: float
    background: FrameBackground

    def level_at(self, channel: int, y: Array, x: Array) -> Array:
        """(N,) background at places in working pixels."""
        return self.background.at(channel, self.to_image(y), self.to_image(x))

    def noise(self, channel: int) -> Array:
        """Standard deviation of a channel's background, a scalar."""
        return squeeze(cut(self.background.noise, 0, channel, channel + 1), 0)

    def to_image(self, position: Array) -> Array:
        """Position in pixels of the frame of a position in working pixels."""
        return position * self.factor + (self.factor - 1) / 2


def working_planes(
    counts: Array, channels: list[int], background: FrameBackground, factor: int, pixel_size_um: float
) -> WorkingPlanes:
    """Means over `factor` x `factor` pixels of the channels wanted of counts (C, H, W)."""
    if factor > 1:
        below, right = (_missing(counts.size(number), factor) for number in (1, 2))
        padded = axis(pad(counts, (0, 0, 0, 0, below, right)), 0)
        counts = squeeze(apply("AveragePool", [padded], FLOAT, kernel_shape=[factor] * 2, strides=[factor] * 2), 0)
    planes = {channel: squeeze(cut(counts, 0, channel, channel + 1), 0) for channel in channels}
    return WorkingPlanes(planes, factor, factor * pixel_size_um, background)


def _missing(size: Array, factor: int) -> Array:
    """Pixels to the next multiple of `factor`."""
    return (size + factor - 1) // factor * factor - size
