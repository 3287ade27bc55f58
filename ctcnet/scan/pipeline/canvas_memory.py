"""Memory of canvases, used again from frame to frame."""

from __future__ import annotations

import weakref
from math import prod

import torch
from torch import Tensor


class CanvasMemory:
    """Gives canvases of one cartridge, in memory of those that nobody holds any more.

    On a CPU, frames taken from the heap and given back to it leave holes that smaller blocks break up, so that the heap
    grows from frame to frame; got from the system anew, each costs time. Elsewhere torch does the same by itself.

    Args:
        shape: (C, H, W) of the largest canvas.
        device: where canvases are.
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self._values, self._device = prod(shape), device
        self._free: list[Tensor] = []

    def empty(self, shape: tuple[int, int, int]) -> Tensor:
        """A canvas (C, H, W) float32 of arbitrary values; its memory is free again when the last tensor on it goes."""
        if self._device.type != "cpu":
            return torch.empty(shape, device=self._device)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = torch.empty(self._values)
        values = memory.numpy()[: prod(shape)].reshape(shape)  # torch holds this array for as long as it needs it
        weakref.finalize(values, self._free.append, memory).atexit = False
        return torch.from_numpy(values)

    def give_back(self) -> None:
        """Return what is free to the system."""
        self._free.clear()
