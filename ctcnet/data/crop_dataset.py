"""Batches of crops with their targets, read together and augmented by seed."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ctcnet.data.augmentation import Augmentation, all_present, channel_presence
from ctcnet.data.sample_seeds import sample_seeds
from ctcnet.normalization import per_crop_levels

Batch = dict[str, Tensor]
"""crops (B, C, S, S) raw counts, background and scale (B, C) float32, presence (B, C) bool, target (B, K) float32,
weight (B,) float32, index (B,) int64 row of the dataset, sample_seed (B,) int64."""


class BatchRequest(NamedTuple):
    """Rows of the dataset wanted in one batch, int64 (B,), and the pass over the crops that they are wanted for."""

    pass_number: int
    rows: np.ndarray


class CropReader(Protocol):
    """Reads rows as crops (n, C, S, S), uint16 or float32, at the model's scale."""

    def __call__(self, rows: np.ndarray) -> np.ndarray: ...


class CropDataset(Dataset):
    """Crops of one part (training, validation or test).

    Args:
        read: gives the crops of rows of this dataset.
        targets: (N, K) float32, rows add up to 1.
        weight: (N,) float32.
        background, scale: (N, C) float32, finite; placeholders where `per_crop_floor` is set.
        seed: seed of the run.
        augmentation: what to do to crops here; None for validation and test. Only the backend 'albumentations' acts in
            the dataset, but channels are dropped here for both.
        full_scale: largest count of the camera.
        per_crop_floor: least scale in counts where levels are each crop's own (mode 'per_crop'), else None.
        shared_scale: whether the channels of a crop share one scale then.
    """

    def __init__(
        self,
        read: CropReader,
        targets: np.ndarray,
        weight: np.ndarray,
        background: np.ndarray,
        scale: np.ndarray,
        *,
        seed: int,
        augmentation: Augmentation | None,
        full_scale: float,
        per_crop_floor: float | None = None,
        shared_scale: bool = False,
    ) -> None:
        self.read = read
        self.targets = targets.astype(np.float32, copy=False)
        self.weight = weight.astype(np.float32, copy=False)
        self.background = background.astype(np.float32, copy=False)
        self.scale = scale.astype(np.float32, copy=False)
        self.seed, self.per_crop_floor, self.shared_scale = seed, per_crop_floor, shared_scale
        self.augmentation = None if augmentation is None or augmentation.backend == "none" else augmentation
        self._chain = None
        if self.augmentation is not None and self.augmentation.backend == "albumentations":
            from ctcnet.data.albumentations_chain import AlbumentationsChain  # slow to import, seldom needed

            self._chain = AlbumentationsChain(self.augmentation, full_scale)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> Batch:
        """One crop of epoch 0 as a batch of one."""
        return self.__getitems__(BatchRequest(0, np.array([row])))

    def __getitems__(self, request: BatchRequest) -> Batch:
        """A whole batch, already collated."""
        rows = np.asarray(request.rows)
        seeds = sample_seeds(self.seed, request.pass_number, rows)
        crops = self.read(rows)
        background, scale = self.background[rows], self.scale[rows]
        if self._chain is not None:
            floor = self.per_crop_floor
            levels = (background, scale) if floor is None else per_crop_levels(crops, floor, self.shared_scale)
            parts = zip(crops, *levels, seeds, strict=True)
            crops = np.stack([self._chain(crop, b, s, int(seed)) for crop, b, s, seed in parts])
        sample_seed = torch.from_numpy(seeds)
        channels = background.shape[1]
        if self.augmentation is not None and self.augmentation.channel_drop > 0:
            presence = channel_presence(sample_seed, channels, self.augmentation.channel_drop)
        else:
            presence = all_present(len(rows), channels)
        return {
            "crops": torch.from_numpy(np.ascontiguousarray(crops)),
            "background": torch.from_numpy(background),
            "scale": torch.from_numpy(scale),
            "presence": presence,
            "target": torch.from_numpy(self.targets[rows]),
            "weight": torch.from_numpy(self.weight[rows]),
            "index": torch.from_numpy(rows.astype(np.int64)),
            "sample_seed": sample_seed,
        }
