"""Augmentation of whole batches on the device, each crop's a pure function of its seed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.data.augmentation import Augmentation
from ctcnet.seeded_random import uniform

_DIHEDRAL, _AFFINE, _DEFOCUS, _GAIN, _OFFSET, _NOISE = range(6)
_NOISE_TABLE = 1 << 21


class DeviceAugmentation(nn.Module):
    """Augments raw counts in a batch.

    A crop's result depends on the crop, its levels and its seed, never on its neighbours in the batch, so that resumed
    and distributed runs see the same crops.

    Args:
        settings: strengths of each kind; `channel_drop` is the loader's business.
        full_scale: largest count of the camera; results are clipped to it as a camera would.
    """

    def __init__(self, settings: Augmentation, full_scale: float) -> None:
        super().__init__()
        self.settings = settings
        self.full_scale = float(full_scale)
        self._noise_table: Tensor | None = None  # no buffer: data-parallel training would send it at every step

    @torch.no_grad()
    def forward(self, counts: Tensor, background: Tensor, scale: Tensor, sample_seed: Tensor) -> Tensor:
        """Augment.

        Args:
            counts: (N, C, H, W) float32; H equals W.
            background, scale: (N, C) float32, finite, in counts.
            sample_seed: (N,) int64.

        Returns:
            (N, C, H, W) float32, within 0 (or the crop's own least count, if that is negative) and full scale.
        """
        own = self.settings
        lowest = counts.amin(dim=(1, 2, 3), keepdim=True).clamp(max=0)
        element = (uniform(sample_seed, _DIHEDRAL, 1)[:, 0] * (8 if own.dihedral else 0)).long()
        if own.affine > 0:
            out = self._affine(counts, element, uniform(sample_seed, _AFFINE, 5))
        else:
            out = dihedral(counts, element) if own.dihedral else counts.clone()
        if own.defocus > 0 and own.defocus_px > 0:
            self._defocus_(out, uniform(sample_seed, _DEFOCUS, 2))
        if own.gain > 0 or own.offset > 0:
            self._gain_and_offset_(out, background, scale, sample_seed)
        if own.shot_noise > 0:
            self._shot_noise_(out, background, sample_seed)
        return out.clamp_(max=self.full_scale).clamp_(min=lowest)

    def _affine(self, counts: Tensor, element: Tensor, draws: Tensor) -> Tensor:
        """The small map and the dihedral element at once: one interpolation."""
        own, side = self.settings, counts.shape[-1]
        signed = (2 * draws[:, 1:] - 1) * (draws[:, :1] < own.affine)
        angle = signed[:, 0] * math.radians(own.rotate_deg)
        size = 1 / (1 + signed[:, 1] * own.zoom)
        cosine, sine = torch.cos(angle) * size, torch.sin(angle) * size
        small = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], dim=1)
        shift = signed[:, 2:, None] * (2 * own.shift_px / side)
        matrix = torch.cat([dihedral_matrix(element) @ small, shift], dim=2)
        grid = F.affine_grid(matrix, list(counts.shape), align_corners=False)
        return F.grid_sample(counts, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _defocus_(self, crops: Tensor, draws: Tensor) -> None:
        chosen = torch.nonzero(draws[:, 0] < self.settings.defocus)[:, 0]
        blur = blur_matrix(draws[chosen, 1] * self.settings.defocus_px, crops.shape[-1])[:, None]
        crops[chosen] = blur @ crops[chosen] @ blur.transpose(-1, -2)

    def _gain_and_offset_(self, crops: Tensor, background: Tensor, scale: Tensor, sample_seed: Tensor) -> None:
        channels = crops.shape[1]
        gain = torch.exp((2 * uniform(sample_seed, _GAIN, channels) - 1) * self.settings.gain)
        offset = (2 * uniform(sample_seed, _OFFSET, channels) - 1) * self.settings.offset * scale
        crops.mul_(gain[..., None, None]).add_((background * (1 - gain) + offset)[..., None, None])

    def _shot_noise_(self, crops: Tensor, background: Tensor, sample_seed: Tensor) -> None:
        n, channels, height, width = crops.shape
        draws = uniform(sample_seed, _NOISE, 1 + channels)
        start = (draws[:, 1:].double() * (_NOISE_TABLE - height * width)).long()
        noise = self._noise_on(crops.device).unfold(0, height * width, 1)[start.flatten()]
        signal = (crops - background[..., None, None]).clamp_(min=0)
        spread = signal.mul_(draws[:, :1, None, None] * self.settings.shot_noise).sqrt_()
        crops.addcmul_(spread, noise.view(n, channels, height, width))

    def _noise_on(self, device: torch.device) -> Tensor:
        """Normal numbers, drawn once; each crop uses a stretch of them (as in Salimans et al. 2017)."""
        if self._noise_table is None or self._noise_table.device != device:
            generator = torch.Generator().manual_seed(0)
            self._noise_table = torch.randn(_NOISE_TABLE, generator=generator).to(device)
        return self._noise_table


def dihedral(crops: Tensor, element: Tensor) -> Tensor:
    """Turn and flip square crops (N, C, S, S) by an element 0..7 each, int64 (N,); 0 leaves a crop as it is."""
    choice = element[:, None, None, None]
    crops = torch.where(choice % 2 == 1, crops.flip(-1), crops)
    crops = torch.where((choice // 2) % 2 == 1, crops.flip(-2), crops)
    return torch.where(choice >= 4, crops.transpose(-1, -2), crops)


def dihedral_matrix(element: Tensor) -> Tensor:
    """Maps of (x, y) that sample a crop as `dihedral` turns it: float32 (N, 2, 2) for elements int64 (N,)."""
    one = torch.ones_like(element, dtype=torch.float32)
    flip = torch.stack([one - 2 * (element % 2), one - 2 * ((element // 2) % 2)], dim=1)
    swapped = (element >= 4)[:, None, None]
    plain = torch.diag_embed(flip)
    return torch.where(swapped, plain.flip(-1), plain)


def blur_matrix(sigma_px: Tensor, size_px: int) -> Tensor:
    """Gaussian blur along one axis as matrices (N, S, S) whose rows add up to 1; sigma 0 gives the identity."""
    position = torch.arange(size_px, device=sigma_px.device, dtype=torch.float32)
    distance = (position[:, None] - position[None]).square()
    variance = sigma_px.square().clamp(min=1e-4)
    return torch.softmax(-distance[None] / (2 * variance[:, None, None]), dim=-1)
