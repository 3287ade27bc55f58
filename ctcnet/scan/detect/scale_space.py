"""Peaks of a channel in scale space: where, how large, how high over the surroundings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ctcnet.scan.detect.neighbourhoods import largest_nearby

SCALE_RATIO = math.sqrt(2)
"""Ratio of neighbouring diameters."""

_BEST_U = 2 * math.log(SCALE_RATIO) / (1 - SCALE_RATIO**-2)
DIAMETER_PER_SIGMA = 2 * math.sqrt(2 * _BEST_U)
"""Diameter of the disc to which the difference of Gaussians of sigma and sqrt(2) sigma responds most."""

DISC_RESPONSE = math.exp(-_BEST_U / SCALE_RATIO**2) - math.exp(-_BEST_U)
"""That response for a disc of height 1."""

PIXEL_SIGMA = 1 / math.sqrt(12)
OCTAVE_SIGMA_PX = 2.0


@dataclass(frozen=True)
class Peaks:
    """Peaks of a batch of images, sorted by image, y and x within each octave.

    Attributes:
        image: (N,) int64, row of the batch.
        y, x: (N,) float32, position in working pixels.
        diameter_um: (N,) float32, diameter of the scale that responds most.
        height: (N,) float32, height over the surroundings in counts of a disc that would respond as much.
    """

    image: Tensor
    y: Tensor
    x: Tensor
    diameter_um: Tensor
    height: Tensor

    def __len__(self) -> int:
        """Number of peaks."""
        return len(self.image)

    def take(self, rows: Tensor) -> Peaks:
        """The peaks at `rows` (indices or mask)."""
        return Peaks(self.image[rows], self.y[rows], self.x[rows], self.diameter_um[rows], self.height[rows])


def blur(plane: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of (B, h, w), cut off at 3 sigma; the border's value goes on beyond it."""
    weights = gaussian_weights(sigma_px)
    return _blur_along(_blur_along(plane, weights, 2), weights, 1)


@lru_cache(maxsize=256)
def gaussian_weights(sigma_px: float) -> tuple[float, ...]:
    """Weights of a Gaussian from its middle to 3 sigma on one side; with those of the other side they add up to 1."""
    radius = max(1, math.ceil(3 * sigma_px))
    taps = torch.exp(-0.5 * (torch.arange(radius + 1, dtype=torch.float64) / sigma_px) ** 2)
    return tuple((taps / (2 * taps.sum() - taps[0])).tolist())


def _blur_along(plane: Tensor, weights: Sequence[float], dim: int) -> Tensor:
    """Sums of shifted slices: on a CPU several times faster than a convolution of one channel, and exact on a GPU."""
    radius, size = len(weights) - 1, plane.shape[dim]
    padded = F.pad(plane, (radius, radius) if dim == 2 else (0, 0, radius, radius), mode="replicate")
    result = padded.narrow(dim, radius, size) * weights[0]
    for distance in range(1, radius + 1):
        for start in (radius - distance, radius + distance):
            result.add_(padded.narrow(dim, start, size), alpha=weights[distance])
    return result


def scale_diameters_um(range_um: tuple[float, float]) -> list[float]:
    """Diameters looked for: from the least in steps of sqrt(2) until the largest is reached."""
    least, largest = range_um
    steps = max(1, math.ceil(math.log(largest / least) / math.log(SCALE_RATIO) - 1e-9) + 1)
    return [least * SCALE_RATIO**step for step in range(steps)]


def find_peaks(plane: Tensor, pixel_um: float, range_um: tuple[float, float], least_height: Tensor) -> Peaks:
    """Find peaks at every scale.

    Differences of Gaussians (Lindeberg 1998, Int. J. Comput. Vis. 30, 79), on a pyramid: where a blur reaches two
    pixels, every second pixel is left out. A place can give a peak in more than one octave; see `suppression`.

    Args:
        plane: (B, h, w) float32, one channel of the working image.
        pixel_um: size of its pixels.
        range_um: least and largest diameter.
        least_height: (B,) float32, peaks of lesser height are left out.

    Returns:
        The peaks of all octaves, one octave after the other.
    """
    diameters = scale_diameters_um(range_um)
    step, found = 1, []
    sigma = diameters[0] / DIAMETER_PER_SIGMA / pixel_um
    plane = blur(plane, max(0.5, math.sqrt(max(0.0, sigma**2 - PIXEL_SIGMA**2))))
    responses: list[Tensor] = []
    scales: list[float] = []
    for index, diameter in enumerate(diameters):
        wider = blur(plane, sigma / step * math.sqrt(SCALE_RATIO**2 - 1))
        responses.append((plane - wider).div_(DISC_RESPONSE))
        scales.append(diameter)
        plane, sigma = wider, sigma * SCALE_RATIO
        last = index == len(diameters) - 1
        if last or (sigma / step >= OCTAVE_SIGMA_PX - 1e-6 and min(plane.shape[-2:]) >= 8):
            found.append(_octave_peaks(responses, scales, step, least_height))
            plane, step = plane[..., ::2, ::2], step * 2
            responses, scales = [], []
    return Peaks(*(torch.cat([getattr(peaks, name) for peaks in found]) for name in Peaks.__dataclass_fields__))


def _octave_peaks(responses: list[Tensor], scales: list[float], step: int, least_height: Tensor) -> Peaks:
    best = responses[0].clone()
    for response in responses[1:]:
        torch.maximum(best, response, out=best)
    mask = (best >= largest_nearby(best)) & (best > least_height[:, None, None])
    image, row, column = mask.nonzero(as_tuple=True)
    values = torch.stack([response[image, row, column] for response in responses])
    scale = values.argmax(0)
    y = (row + _vertex(best, image, row, column, 1, 0)) * step
    x = (column + _vertex(best, image, row, column, 0, 1)) * step
    diameter = torch.tensor(scales, dtype=best.dtype, device=best.device)[scale]
    return Peaks(image, y, x, diameter, values.amax(0))


def _vertex(plane: Tensor, image: Tensor, row: Tensor, column: Tensor, down: int, across: int) -> Tensor:
    """Offset in pixels, within half a pixel, of the top of the parabola through a peak and its two neighbours."""
    height, width = plane.shape[-2:]
    centre = plane[image, row, column]
    before = plane[image, (row - down).clamp(min=0), (column - across).clamp(min=0)]
    after = plane[image, (row + down).clamp(max=height - 1), (column + across).clamp(max=width - 1)]
    curvature = before - 2 * centre + after
    offset = 0.5 * (before - after) / torch.where(curvature < 0, curvature, -torch.ones_like(curvature))
    return torch.where(curvature < 0, offset, torch.zeros_like(offset)).clamp(-0.5, 0.5)
