"""Crops whose pixels are held in memory, at a model's scale and size already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.model_card import ModelCard


@dataclass(frozen=True)
class MemorySource:
    """Pixels (N, C, S, S) that need no reading; see `ctcnet.crops.CropSource`."""

    pixels: np.ndarray

    def read(self, rows: np.ndarray, pixel_size_um: float | None, crop_size_px: int) -> np.ndarray:
        return self.pixels[rows]

    def pixel_sizes(self, rows: np.ndarray) -> np.ndarray:
        return np.full(len(rows), np.nan)

    def digests(self, rows: np.ndarray) -> list[bytes]:
        return [sha256(self.pixels[row].tobytes()).digest() for row in rows]


def in_memory(crops: LabelledCrops, pixels: np.ndarray) -> LabelledCrops:
    """The crops with `pixels` (N, C, S, S) in the place of their source."""
    return replace(crops, source=MemorySource(pixels), source_rows=np.arange(len(pixels)))


def simulated_in_memory(
    card: ModelCard,
    pixels: np.ndarray,
    labels: np.ndarray,
    group: np.ndarray,
    background: np.ndarray,
    scale: np.ndarray,
) -> LabelledCrops:
    """Simulated crops of a card's panel, at its scale.

    Args:
        card: the model's.
        pixels: (N, C, S, S) counts.
        labels: (N,) int64, rows of the card's classes.
        group: object (N,), also the crops' cartridges.
        background, scale: float32 (N, C) counts, NaN where not known.
    """
    count = len(pixels)
    nothing = np.full(count, "", object)
    return LabelledCrops(
        panel=card.panel,
        schema=card.labels,
        path=np.array([f"simulated_{row}" for row in range(count)], object),
        targets=np.eye(len(card.labels.classes), dtype=np.float32)[labels],
        group=group,
        cartridge=group,
        batch=nothing,
        split=nothing,
        weight=np.ones(count, np.float32),
        pixel_size_um=np.full(count, card.pixel_size_um),
        background=background,
        scale=scale,
        source=MemorySource(pixels),
        source_rows=np.arange(count),
        simulated=True,
    )
