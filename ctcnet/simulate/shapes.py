"""Analytic shapes on a grid in um: projected thickness of bodies, membrane shells and nuclei, and their texture."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.simulate.draws import Draws
from ctcnet.simulate.objects import Bodies
from ctcnet.simulate.optics import blur, blur_matrices

CHROMATIN_GRAIN_UM = 0.45
"""Correlation length (SD of the smoothing kernel) of chromatin and cytoplasm texture."""


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def normalised_radius_squared(x: Tensor, y: Tensor, bodies: Bodies) -> Tensor:
    """Squared distance from each body's centre, 1 on its ruffled elliptic outline. x, y (M, P, P) in um."""
    cos, sin = _column(torch.cos(bodies.angle)), _column(torch.sin(bodies.angle))
    stretch = _column(bodies.aspect.sqrt() * bodies.radius)
    narrow = _column(bodies.radius / bodies.aspect.sqrt())
    along, across = (x * cos + y * sin) / stretch, (y * cos - x * sin) / narrow
    squared = along.square() + across.square()
    inverse = torch.rsqrt(squared + 1e-6)
    c, s = along * inverse, across * inverse
    c2, s2 = c * c - s * s, 2 * c * s
    c3, s3 = c2 * c - s2 * s, s2 * c + c2 * s
    wave = bodies.ruffle * torch.cos(bodies.phase), bodies.ruffle * torch.sin(bodies.phase)
    outline = 1 + c2 * _column(wave[0][:, 0]) - s2 * _column(wave[1][:, 0])
    outline = outline + c3 * _column(wave[0][:, 1]) - s3 * _column(wave[1][:, 1])
    return squared / outline.square()


def body_thickness(radius_squared: Tensor) -> Tensor:
    """Projected thickness of an ellipsoid, 1 in the middle, 0 outside."""
    return (1 - radius_squared).clamp_min(0).sqrt()


def shell_thickness(radius_squared: Tensor, inner: Tensor) -> Tensor:
    """Projected thickness of a shell between `inner` (M,) and 1, peak 1 at the inner radius (a ring)."""
    k = _column(inner)
    hollow = k * (1 - radius_squared / k.square()).clamp_min(0).sqrt()
    return (body_thickness(radius_squared) - hollow) / (1 - k.square()).sqrt()


def nucleus_thickness(x: Tensor, y: Tensor, bodies: Bodies, lobes: int) -> Tensor:
    """Projected thickness (M, P, P) of the union of the first `lobes` lobes, less the indent; 1 at `nucleus_radius`."""
    thickness = torch.zeros_like(x + y)
    for index in range(lobes):
        lobe_x, lobe_y, radius = (_column(bodies.lobes[:, index, axis]) for axis in range(3))
        squared = (x - lobe_x).square() + (y - lobe_y).square()
        thickness = torch.maximum(thickness, (radius.square() - squared).clamp_min(0))
    thickness = thickness.sqrt() / _column(bodies.nucleus_radius.clamp_min(0.1))
    indent_x, indent_y, radius = (_column(bodies.indent[:, axis]) for axis in range(3))
    distance = ((x - indent_x).square() + (y - indent_y).square()).sqrt()
    return thickness * torch.where(radius > 0, ((distance - radius) / 0.6 + 0.5).clamp(0, 1), 1.0)


def texture_bank(draws: Draws, count: int, size_px: int, pixel_size_um: float) -> Tensor:
    """Standard-normal noise fields (count, size_px, size_px), smooth over `CHROMATIN_GRAIN_UM`."""
    margin = 6
    noise = draws.normal((count, 1, size_px + 2 * margin, size_px + 2 * margin))
    sigma_px = torch.full((count, 1), max(0.5, CHROMATIN_GRAIN_UM / pixel_size_um), device=draws.device)
    smooth = blur(noise, blur_matrices(sigma_px, size_px, margin))[:, 0]
    return (smooth - smooth.mean()) / smooth.std()
