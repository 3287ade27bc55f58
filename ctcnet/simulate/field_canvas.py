"""Electrons of one frame before the camera: objects stamped on a rectangular canvas and blurred."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.simulate.objects import Bodies, Dots
from ctcnet.simulate.optics import CANVAS_VARIANCE, discrete_gaussian
from ctcnet.simulate.stamping import body_patches, body_rungs, dot_patch_px, dot_patches

LEAST_TAP = 1e-5
"""Taps of a blur kernel below this share of its mass are left out."""


class FieldCanvas:
    """Electrons (C, H + 2m, W + 2m) of one frame with a margin of m pixels, before optics.

    Centres of objects are in um from the centre of the frame's upper left pixel.
    """

    def __init__(self, channels: int, height_px: int, width_px: int, margin_px: int, pixel_size_um: float) -> None:
        self.margin_px = margin_px
        self.pixel_size_um = pixel_size_um
        self.values = torch.zeros((channels, height_px + 2 * margin_px, width_px + 2 * margin_px))

    def add_bodies(self, bodies: Bodies, texture: Tensor, textures: Tensor) -> None:
        """Draw bodies; body i takes rows `texture` (2, M) of `textures` (B, T, T), in whatever frame it is drawn."""
        for chosen, patch_px, lobes in body_rungs(bodies, self.pixel_size_um, textures.shape[-1]):
            rung = bodies.rows(chosen)
            first, offset_um = self._patch(rung.centre, patch_px)
            self._add(first, body_patches(rung, offset_um, lobes, textures, texture[:, chosen]))

    def add_dots(self, dots: Dots, largest_sigma_um: float) -> None:
        """Draw dots, none wider than `largest_sigma_um`."""
        if len(dots.crop):
            first, offset_um = self._patch(dots.centre, dot_patch_px(largest_sigma_um, self.pixel_size_um))
            self._add(first, dot_patches(dots, offset_um, self.pixel_size_um))

    def _patch(self, centre_um: Tensor, patch_px: int) -> tuple[Tensor, Tensor]:
        """First column and row (M, 2) of patches, and their pixel centres' offsets (M, 2, P) in um from the objects."""
        centre_px = centre_um / self.pixel_size_um + self.margin_px
        first = torch.floor(centre_px).long() - (patch_px - 1) // 2
        pixel = first[:, :, None] + torch.arange(patch_px)
        return first, (pixel - centre_px[:, :, None]) * self.pixel_size_um

    def _add(self, first: Tensor, patches: Tensor) -> None:
        """Add patches (M, C, P, P) whose first column and row are `first`; what lies outside is dropped."""
        channels, height, width = self.values.shape
        pixel = first[:, :, None] + torch.arange(patches.shape[-1])
        column, row = pixel[:, 0], pixel[:, 1]
        inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
        flat = row.clamp(0, height - 1)[:, :, None] * width + column.clamp(0, width - 1)[:, None, :]
        masked = patches * inside[:, None]
        for channel in range(channels):
            self.values[channel].view(-1).scatter_add_(0, flat.reshape(-1), masked[:, channel].reshape(-1))

    def blurred(self, sigma_px: Tensor) -> Tensor:
        """The frame (C, H, W) under an optical PSF of `sigma_px` (C,), as `optics.blur` does with small crops.

        Sums of shifted copies: the same bits whatever the number of threads.
        """
        kernels = discrete_gaussian((sigma_px.square() - CANVAS_VARIANCE).clamp_min(0.01), self.margin_px + 1)
        return torch.stack([_blur_plane(plane, kernel) for plane, kernel in zip(self.values, kernels, strict=True)])


def _blur_plane(plane: Tensor, kernel: Tensor) -> Tensor:
    """Blur (H + 2m, W + 2m) along both axes by a symmetric kernel (m + 1,), and cut the margin off."""
    margin = len(kernel) - 1
    reach = int((kernel > LEAST_TAP).sum()) - 1
    for axis in (0, 1):
        size = plane.shape[axis] - 2 * margin
        total = plane.narrow(axis, margin, size) * kernel[0]
        for distance in range(1, reach + 1):
            tap = float(kernel[distance])
            total.add_(plane.narrow(axis, margin - distance, size), alpha=tap)
            total.add_(plane.narrow(axis, margin + distance, size), alpha=tap)
        plane = total
    return plane
