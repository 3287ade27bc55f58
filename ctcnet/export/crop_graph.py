"""The whole way from raw counts to answers as one module, which becomes the ONNX graph."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ctcnet.model_card import ModelCard
from ctcnet.networks import CellClassifier
from ctcnet.networks.levels import InputLevels
from ctcnet.normalization import normalize
from ctcnet.runtime import Predictor


class ExportablePredictor(Predictor, Protocol):
    """A checkpoint that can be exported.

    Attributes:
        network: the trained classifier; the softmax of its logits refers to the prior on the card.
    """

    @property
    def network(self) -> CellClassifier: ...


class CropGraph(nn.Module):
    """Raw counts in, answers out.

    Args:
        network: module of normalised crops (N, C, H, W) that gives (logits (N, K), embedding (N, D)).
        card: the model's card: levels, temperature, threshold.
    """

    own_background: Tensor
    own_scale: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        levels = card.normalization
        self.network = network
        self.temperature = card.temperature
        self.unassigned_below = card.unassigned_below
        self.per_crop = InputLevels(levels.floor) if levels.mode == "per_crop" else None
        self.register_buffer("own_background", torch.tensor(levels.background or (), dtype=torch.float32))
        self.register_buffer("own_scale", torch.tensor(levels.scale or (), dtype=torch.float32))

    def forward(self, crops: Tensor, background: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Classify crops.

        Args:
            crops: (N, C, H, W), uint16 or float32 counts.
            background, scale: float32 (C,), counts; NaN stands for the model's own.

        Returns:
            probabilities float32 (N, K), unassigned bool (N,), atypicality float32 (N,), all NaN, embedding float32
            (N, D).
        """
        counts = crops.to(torch.float32)
        own_background, own_scale = self._own_levels(counts)
        background = torch.where(torch.isnan(background), own_background, background)
        scale = torch.where(torch.isnan(scale), own_scale, scale)
        logits, embedding = self.network(self._normalized(counts, background, scale))
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        largest = probabilities.amax(dim=1)
        return probabilities, largest < self.unassigned_below, torch.full_like(largest, torch.nan), embedding

    def _normalized(self, counts: Tensor, background: Tensor, scale: Tensor) -> Tensor:
        """`normalize` as one operator where levels are (C,).

        A batch norm with the levels as mean and standard deviation passes over the pixels once, a difference and a
        quotient twice.
        """
        if self.per_crop is None:
            return functional.batch_norm(counts, background, scale.square(), eps=0.0)
        return normalize(counts, background, scale)

    def _own_levels(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        return (self.own_background, self.own_scale) if self.per_crop is None else self.per_crop(counts)
