"""Centres and diameters of events from rays that run outwards from their peaks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ctcnet.scan.detect.sampling import sample
from ctcnet.scan.detect.scale_space import Peaks
from ctcnet.scan.order_statistics import lower_median

NUCLEUS_LEVEL = 0.4
"""Share of the height at which a nucleus ends."""

OBJECT_LEVEL = 0.5
"""Share of the height at which an object ends: the blur does not make it look larger."""

CELL_LEVEL = 0.5
"""Share of the brightest ring at which the stained area of a cell ends."""

RAYS = 12
STEP_PX = 1.0
RISE = 1.3  # of the lowest value so far, at which a ray has turned up
VALLEY = 0.75  # of the height, that a ray must have fallen below before
LONGEST_RAY = 1.5  # times the median ray; longer ones run into something else
MOVED = 0.25  # of the radius: centres that moved farther from their peaks are looked for again, from where they are
_CHUNK = 8192


def outline(
    plane: Tensor, peaks: Peaks, level: Tensor, share: float, largest_um: float, pixel_um: float
) -> tuple[Tensor, ...]:
    """Centre and diameter of what stands at each peak.

    Along each ray the edge lies where the height falls below `share` of that at the peak, or where it starts
    to rise again (a neighbour). The centre is that of the area within the edges.

    Args:
        plane: (B, h, w) float32, a channel of the working image.
        peaks: places to start from.
        level: (N,) float32, background at each in counts.
        share: share of the height at which it ends.
        largest_um: rays end at half of this.
        pixel_um: size of a working pixel.

    Returns:
        y, x: (N,) float32, centre in working pixels; diameter in um, of the circle of equal area; height of the
        peak's surroundings (mean within 1.5 steps) over the background in counts.
    """
    radii = _radii(largest_um / 2 / pixel_um, plane.device)
    parts = [
        _outline_chunk(plane, peaks.take(rows), level[rows], share, radii)
        for rows in torch.arange(len(peaks), device=plane.device).split(_CHUNK)
    ]
    y, x, radius, height = (torch.cat(column) for column in zip(*parts, strict=True)) if parts else [level] * 4
    return y, x, 2 * radius * pixel_um, height


def _radii(largest_px: float, device: torch.device) -> Tensor:
    return torch.arange(1, max(4, math.ceil(largest_px / STEP_PX)) + 1, device=device) * STEP_PX


def _directions(device: torch.device) -> tuple[Tensor, Tensor]:
    angle = torch.arange(RAYS, device=device) * (2 * math.pi / RAYS)
    return angle.sin()[None, :, None], angle.cos()[None, :, None]


def _rays(plane: Tensor, image: Tensor, y: Tensor, x: Tensor, radii: Tensor) -> Tensor:
    """(N, rays, radii) values."""
    sine, cosine = _directions(plane.device)
    return sample(plane, image[:, None, None], y[:, None, None] + sine * radii, x[:, None, None] + cosine * radii)


def _outline_chunk(plane: Tensor, peaks: Peaks, level: Tensor, share: float, radii: Tensor) -> tuple[Tensor, ...]:
    values = _rays(plane, peaks.image, peaks.y, peaks.x, radii) - level[:, None, None]
    centre = sample(plane, peaks.image, peaks.y, peaks.x) - level
    height = (centre + values[..., :2].mean(1).sum(-1)) / 3
    y, x, radius = _centre_and_radius(values, height, share, radii, peaks.y, peaks.x)
    moved = (torch.hypot(y - peaks.y, x - peaks.x) > MOVED * radius).nonzero()[:, 0]
    values = _rays(plane, peaks.image[moved], y[moved], x[moved], radii) - level[moved, None, None]
    y[moved], x[moved], radius[moved] = _centre_and_radius(values, height[moved], share, radii, y[moved], x[moved])
    return y, x, radius, height


def _centre_and_radius(
    values: Tensor, height: Tensor, share: float, radii: Tensor, y: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Centroid of the area within the rays' edges, as sectors of circles, and the radius of a disc of that area."""
    edge = _edges(values, height[:, None, None], share, radii)
    edge = torch.minimum(edge, LONGEST_RAY * lower_median(edge)[..., None])
    sine, cosine = _directions(values.device)
    area, cubed = edge.square().sum(-1), edge**3
    down, across = (2 / 3 * (cubed * part[..., 0]).sum(-1) / area for part in (sine, cosine))
    return y + down, x + across, (area / RAYS).sqrt()


def _edges(values: Tensor, height: Tensor, share: float, radii: Tensor) -> Tensor:
    """(N, rays) radius at which each ray falls below its share of the height, by a straight line between two steps.

    A ray that turns up again from a valley ends at its bottom; texture makes no valleys as deep.
    """
    steps = values.shape[-1]
    threshold = share * height
    lowest = values.cummin(-1).values
    below = values < threshold
    rising = (values > RISE * lowest) & (lowest < VALLEY * height)
    index = torch.arange(steps, device=values.device)
    first_below = torch.where(below, index, steps).amin(-1)
    first_rise = torch.where(rising, index, steps).amin(-1)
    inner = (first_below - 1).clamp(0, steps - 1)[..., None]
    outer = first_below.clamp(max=steps - 1)[..., None]
    before, after = values.gather(-1, inner)[..., 0], values.gather(-1, outer)[..., 0]
    part = ((before - threshold[..., 0]) / (before - after).clamp(min=1e-6)).clamp(0, 1)
    crossing = radii[inner[..., 0]] + part * (radii[outer[..., 0]] - radii[inner[..., 0]])
    turning = radii[(first_rise - 1).clamp(min=0)]
    return torch.where(first_rise < first_below, turning, crossing)


def stained_diameter(
    plane: Tensor, image: Tensor, y: Tensor, x: Tensor, level: Tensor, least_height: Tensor, nucleus_um: Tensor,
    largest_um: float, pixel_um: float,
) -> Tensor:  # fmt: skip
    """Diameter of the stained area around nuclei, in one channel.

    The median over the rays at each radius is taken first, so that neither specks nor a neighbour on one or two sides
    count; the area ends beyond the brightest ring, where the median falls below half of it.

    Args:
        plane: (B, h, w) float32, a channel of the working image.
        image, y, x: (N,) row of the batch and centres in working pixels.
        level: (N,) background in counts.
        least_height: (N,) height in counts below which a ring is not believed.
        nucleus_um: (N,) diameter of the nuclei.
        largest_um: rays end at half of this.
        pixel_um: size of a working pixel.

    Returns:
        (N,) float32 diameter in um, 0 where nothing is stained.
    """
    radii = _radii(largest_um / 2 / pixel_um, plane.device)
    parts = []
    for rows in torch.arange(len(y), device=plane.device).split(_CHUNK):
        rays = _rays(plane, image[rows], y[rows], x[rows], radii)
        profile = lower_median(rays.transpose(1, 2)) - level[rows, None]
        nearby = radii[None] * pixel_um <= nucleus_um[rows, None] / 2 + 2.5
        ring, place = profile.masked_fill(~nearby, -math.inf).max(-1)
        index = torch.arange(len(radii), device=plane.device)
        outside = profile.masked_fill(index[None] < place[:, None], math.inf)
        edge = _edges(outside[:, None], ring[:, None, None], CELL_LEVEL, radii)[:, 0]
        parts.append(torch.where(ring > least_height[rows], 2 * edge * pixel_um, torch.zeros_like(edge)))
    return torch.cat(parts) if parts else level
