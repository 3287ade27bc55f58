"""Crops of events cut from a frame at the model's scale, on the device that holds the frame."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ctcnet.resampling import resampling_matrix

_CHUNK = 32  # patches that stay in a core's cache together


class CropCutter:
    """Cuts square crops centred on events, with the weights of `ctcnet.resampling.resample_crop`.

    Args:
        pixel_size_um: micrometres per pixel of the frames.
        target_pixel_size_um, crop_size_px: scale and side of the model's input.
        device: where the frames are.

    Attributes:
        patch_px: side of the patch of the frame that one crop is made of.
    """

    def __init__(
        self, pixel_size_um: float, target_pixel_size_um: float, crop_size_px: int, device: str | torch.device = "cpu"
    ) -> None:
        step_px = target_pixel_size_um / pixel_size_um
        self._crop_size_px = crop_size_px
        self._weights: Tensor | None = None
        self.patch_px = crop_size_px
        if abs(step_px - 1) >= 1e-6:
            self.patch_px = math.ceil(crop_size_px * step_px + 2 * max(step_px, 1.0)) + 1
            weights, _ = resampling_matrix(self.patch_px, crop_size_px, step_px)
            self._weights = torch.from_numpy(weights.copy()).to(device)

    def cut(self, counts: Tensor, x_px: np.ndarray, y_px: np.ndarray, fill: np.ndarray) -> Tensor:
        """Cut one crop for each event.

        Args:
            counts: (C, H, W) float32 counts.
            x_px, y_px: (N,) centres; crops are cut about the nearest pixel.
            fill: (C,) counts where a crop reaches beyond the frame.

        Returns:
            (N, C, S, S) counts: uint16 on a CPU; int32 elsewhere, where torch can do little with uint16.
        """
        side = self._crop_size_px
        dtype = torch.uint16 if counts.device.type == "cpu" else torch.int32
        crops = counts.new_empty((len(x_px), len(counts), side, side), dtype=dtype)
        for start in range(0, len(crops), _CHUNK):
            part = slice(start, start + _CHUNK)
            patches = cut_patches(counts, x_px[part], y_px[part], self.patch_px, fill)
            if self._weights is not None:
                across = patches.flatten(0, 2) @ self._weights.T
                across = across.view(-1, self.patch_px, side)
                patches = torch.bmm(self._weights.expand(len(across), -1, -1), across).view(crops[part].shape)
            crops[part].copy_(patches.round_().clamp_(0, 65535))
        return crops


def cut_patches(counts: Tensor, x_px: np.ndarray, y_px: np.ndarray, size_px: int, fill: np.ndarray) -> Tensor:
    """Patches (N, C, P, P) of a frame (C, H, W) about the nearest pixel; `fill` (C,) beyond the frame.

    An event lies within half a pixel of a patch's middle, (P - 1) / 2 pixels from its first pixel along either axis.
    """
    channels, height, width = counts.shape
    before = (size_px - 1) / 2
    x0, y0 = np.rint(x_px - before).astype(np.int64), np.rint(y_px - before).astype(np.int64)
    if counts.device.type != "cpu":
        return _gathered(counts, x0, y0, size_px, fill)
    patches = np.empty((len(x0), channels, size_px, size_px), dtype=np.float32)
    image, background = counts.numpy(), np.asarray(fill, dtype=np.float32)[:, None, None]
    for event, (left, top) in enumerate(zip(x0.tolist(), y0.tolist(), strict=True)):
        right, bottom = left + size_px, top + size_px
        if left >= 0 and top >= 0 and right <= width and bottom <= height:
            patches[event] = image[:, top:bottom, left:right]
            continue
        patches[event] = background
        rows, columns = slice(max(0, -top), max(0, height - top)), slice(max(0, -left), max(0, width - left))
        patches[event, :, rows, columns] = image[:, max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    return torch.from_numpy(patches)


def _gathered(counts: Tensor, x0: np.ndarray, y0: np.ndarray, size_px: int, fill: np.ndarray) -> Tensor:
    """The same on another device, all patches at once."""
    height, width = counts.shape[1:]
    step = torch.arange(size_px, device=counts.device)
    rows, columns = (torch.from_numpy(first).to(counts.device)[:, None] + step for first in (y0, x0))
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    rows, columns = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    patches = counts[:, rows, columns].transpose(0, 1)
    background = torch.as_tensor(np.asarray(fill, dtype=np.float32), device=counts.device)
    return torch.where(inside[:, None], patches, background[:, None, None]).contiguous()
