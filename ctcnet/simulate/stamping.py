"""Adding objects to a batch of canvases, each on its own small patch, without a loop over objects."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ctcnet.simulate import shapes
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.objects import MAX_LOBES, Bodies, Dots
from ctcnet.simulate.optics import CANVAS_VARIANCE, PIXEL_VARIANCE

PATCH_LADDER_UM: tuple[float, ...] = (8.0, 13.0, 18.0, 28.0, 45.0)
"""Patch widths; each body is drawn on the least that holds it."""

DOT_REACH_SIGMA = 3.0


def _spread(maps: Tensor) -> Tensor:
    """Spread sampled maps (..., P, P) by the variance of a pixel and of `CANVAS_VARIANCE`, as dots are."""
    side = (CANVAS_VARIANCE + PIXEL_VARIANCE) / 2
    kernel = torch.tensor([side, 1 - 2 * side, side], device=maps.device)
    flat = maps.flatten(0, -3)[:, None]
    flat = torch.nn.functional.conv2d(flat, (kernel[:, None] * kernel[None, :])[None, None], padding=1)
    return flat.reshape(maps.shape)


def body_rungs(bodies: Bodies, pixel_size_um: float, largest_px: int) -> Iterator[tuple[Tensor, int, int]]:
    """Divide bodies by the patch that holds them and by the lobes to be drawn.

    Yields:
        rows (K,) of `bodies`, at least one; side of their patches in px, `largest_px` at most; number of lobes.
    """
    reach_um = 2 * bodies.radius * bodies.aspect.sqrt() * (1 + bodies.ruffle.sum(1))
    rung = torch.bucketize(reach_um, torch.tensor(PATCH_LADDER_UM[:-1], device=reach_um.device))
    many = bodies.lobes[:, 1, 2] > 0
    for step, width_um in enumerate(PATCH_LADDER_UM):
        patch_px = min(math.ceil(width_um / pixel_size_um) + 2, largest_px)
        for lobed in (False, True):
            chosen = torch.nonzero((rung == step) & (many == lobed))[:, 0]
            if len(chosen):
                yield chosen, patch_px, MAX_LOBES if lobed else 1


def body_patches(bodies: Bodies, offset_um: Tensor, lobes: int, textures: Tensor, pick: Tensor) -> Tensor:
    """Electrons (M, C, P, P) of bodies on patches, before optics, spread by `CANVAS_VARIANCE`.

    Args:
        offset_um: (M, 2, P) x and y of the patches' pixel centres from the bodies' centres.
        textures: (B, T, T), T at least P.
        pick: (2, M) rows of `textures` for the nucleus and the cytoplasm of each body.
    """
    patch_px = offset_um.shape[-1]
    x, y = offset_um[:, 0, None, :], offset_um[:, 1, :, None]
    squared = shapes.normalised_radius_squared(x, y, bodies)
    nucleus = shapes.nucleus_thickness(x, y, bodies, lobes)
    noise, other = textures[pick[0], :patch_px, :patch_px], textures[pick[1], :patch_px, :patch_px]
    slope = (
        1
        + (x * bodies.gradient[:, 0, None, None] + y * bodies.gradient[:, 1, None, None]) / bodies.radius[:, None, None]
    )
    thickness = shapes.body_thickness(squared)
    cytoplasm = (thickness - bodies.exclusion[:, None, None] * nucleus).clamp_min(0) * slope.clamp_min(0.05)
    cytoplasm = cytoplasm * torch.exp(bodies.grain[:, None, None] * other)
    membrane = shapes.shell_thickness(squared, bodies.shell)
    nucleus = nucleus * torch.exp(bodies.chromatin[:, None, None] * noise)
    compartments = _spread(torch.stack((nucleus, cytoplasm, membrane), 1)).flatten(2)
    return torch.bmm(bodies.amplitude, compartments).unflatten(2, (patch_px, patch_px))


def dot_patch_px(largest_sigma_um: float, pixel_size_um: float) -> int:
    """Side in px of the patch that holds a dot of `largest_sigma_um`."""
    return 2 * math.ceil(DOT_REACH_SIGMA * largest_sigma_um / pixel_size_um) + 2


def dot_patches(dots: Dots, offset_um: Tensor, pixel_size_um: float) -> Tensor:
    """Electrons (M, C, P, P) of pixel-integrated Gaussian dots; `offset_um` (M, 2, P) as in `body_patches`."""
    spread_um = (dots.sigma.square() + CANVAS_VARIANCE * pixel_size_um**2).sqrt()
    width = spread_um[:, None, None] * math.sqrt(2.0)
    half = pixel_size_um / 2
    line = torch.erf((offset_um + half) / width) - torch.erf((offset_um - half) / width)
    line = line * (dots.sigma * math.sqrt(math.pi / 2) / pixel_size_um)[:, None, None]
    outer = line[:, 1, :, None] * line[:, 0, None, :]
    return dots.amplitude[:, :, None, None] * outer[:, None]


class Canvas:
    """Electrons (N, C, S + 2m, S + 2m) of a batch of crops with a margin, before optics."""

    def __init__(
        self, crops: int, channels: int, size_px: int, margin_px: int, pixel_size_um: float, device: torch.device
    ):
        self.side_px = size_px + 2 * margin_px
        self.pixel_size_um = pixel_size_um
        self.values = torch.zeros((crops, channels, self.side_px, self.side_px), device=device)

    def _patch(self, centre_um: Tensor, patch_px: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel indices (M, 2, P), their centres' offsets in um from the object, and which lie inside the canvas."""
        centre_px = centre_um / self.pixel_size_um + (self.side_px - 1) / 2
        first = torch.floor(centre_px).long() - (patch_px - 1) // 2
        pixel = first[:, :, None] + torch.arange(patch_px, device=first.device)
        offset = (pixel - centre_px[:, :, None]) * self.pixel_size_um
        return pixel, offset, (pixel >= 0) & (pixel < self.side_px)

    def _add(self, crop: Tensor, pixel: Tensor, inside: Tensor, patches: Tensor, channel: Tensor | None = None) -> None:
        """Add patches (M, C, P, P) at columns pixel[:, 0] and rows pixel[:, 1]; what lies outside is dropped.

        Args:
            channel: (M,) the channel of patches that have one alone.
        """
        channels = self.values.shape[1]
        area = self.side_px * self.side_px
        clamped = pixel.clamp(0, self.side_px - 1)
        flat = clamped[:, 1, :, None] * self.side_px + clamped[:, 0, None, :]
        number = torch.arange(channels, device=crop.device) if channel is None else channel[:, None]
        plane = (crop[:, None] * channels + number) * area
        index = plane[:, :, None, None] + flat[:, None]
        mask = (inside[:, 1, :, None] & inside[:, 0, None, :]).to(patches.dtype)
        self.values.view(-1).scatter_add_(0, index.reshape(-1), (patches * mask[:, None]).reshape(-1))

    def add_bodies(self, bodies: Bodies, textures: Tensor, draws: Draws) -> None:
        """Draw cells, nuclei, fragments and fibres with textures (B, T, T)."""
        bodies = bodies.rows(bodies.present)
        for chosen, patch_px, lobes in body_rungs(bodies, self.pixel_size_um, textures.shape[-1]):
            rung = bodies.rows(chosen)
            pixel, offset, inside = self._patch(rung.centre, patch_px)
            pick = draws.integers((2, len(chosen)), 0, len(textures) - 1)
            self._add(rung.crop, pixel, inside, body_patches(rung, offset, lobes, textures, pick))

    def add_dots(self, dots: Dots, largest_sigma_um: float) -> None:
        """Draw pixel-integrated Gaussian dots, none wider than `largest_sigma_um`."""
        if not len(dots.crop):
            return
        patch_px = dot_patch_px(largest_sigma_um, self.pixel_size_um)
        pixel, offset, inside = self._patch(dots.centre, patch_px)
        self._add(dots.crop, pixel, inside, dot_patches(dots, offset, self.pixel_size_um))

    def add_specks(self, dots: Dots, channel: Tensor, patch_px: int) -> None:
        """Draw dots with an amplitude (M, 1) in one channel (M,) each, on patches of `patch_px`."""
        if len(dots.crop):
            pixel, offset, inside = self._patch(dots.centre, patch_px)
            self._add(dots.crop, pixel, inside, dot_patches(dots, offset, self.pixel_size_um), channel)
