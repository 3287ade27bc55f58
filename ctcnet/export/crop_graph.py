"""The whole way from raw counts to answers as one module, which becomes the ONNX graph."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ctcnet.model_card import ModelCard
from ctcnet.networks import CellClassifier
from ctcnet.networks.levels import InputLevels
from ctcnet.networks.probabilities import Probabilities
from ctcnet.normalization import normalize
from ctcnet.runtime import Predictor
from ctcnet.runtime.conformal import ctc_classes
from ctcnet.uncertainty import Atypicality


class ExportablePredictor(Predictor, Protocol):
    """A checkpoint that can be exported.

    Attributes:
        network: the trained classifier; the softmax of its logits refers to the prior on the card.
        atypicality: score of crops, or None.
    """

    @property
    def network(self) -> CellClassifier: ...
    @property
    def atypicality(self) -> Atypicality | None: ...


class CropGraph(nn.Module):
    """Raw counts in, answers out.

    Args:
        network: module of normalised crops (N, C, H, W) that gives (logits (N, K), embedding (N, D)).
        card: the model's card: levels, temperature, thresholds.
        atypicality: score of crops; None for NaN.
    """

    own_background: Tensor
    own_scale: Tensor
    thresholds: Tensor
    contains_ctc: Tensor

    def __init__(self, network: nn.Module, card: ModelCard, atypicality: Atypicality | None = None) -> None:
        super().__init__()
        levels = card.normalization
        self.network = network
        self.atypicality = atypicality
        self.conformal = card.conformal is not None
        self.probabilities = Probabilities(card)
        self.unassigned_below = card.unassigned_below
        self.per_crop = InputLevels(levels.floor, levels.shared_scale) if levels.mode == "per_crop" else None
        self.register_buffer("own_background", torch.tensor(levels.background or (), dtype=torch.float32))
        self.register_buffer("own_scale", torch.tensor(levels.scale or (), dtype=torch.float32))
        thresholds = () if card.conformal is None else card.conformal.thresholds
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.float32))
        self.register_buffer("contains_ctc", torch.from_numpy(ctc_classes(card.labels)).float())

    def forward(self, crops: Tensor, background: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Classify crops.

        Args:
            crops: (N, C, H, W), uint16 or float32 counts.
            background, scale: float32 (C,), counts; NaN stands for the model's own.

        Returns:
            probabilities float32 (N, K), unassigned bool (N,), atypicality float32 (N,), NaN without such a score,
            embedding float32 (N, D).
        """
        counts = crops.to(torch.float32)
        own_background, own_scale = self._own_levels(counts)
        background = torch.where(torch.isnan(background), own_background, background)
        scale = torch.where(torch.isnan(scale), own_scale, scale)
        normalised = self._normalized(counts, background, scale)
        logits, embedding = self.network(normalised)
        probabilities = self.probabilities(logits)
        if self.atypicality is None:
            atypicality = torch.full_like(probabilities[:, 0], torch.nan)
        else:
            atypicality = self.atypicality(normalised, embedding)
        return probabilities, self._unassigned(probabilities, atypicality), atypicality, embedding

    def _unassigned(self, probabilities: Tensor, atypicality: Tensor) -> Tensor:
        """As `ctcnet.runtime.conformal.judge_unassigned`."""
        unclear = self._unclear(probabilities)
        return unclear if self.atypicality is None else unclear | torch.logical_not(atypicality <= 1)

    def _unclear(self, probabilities: Tensor) -> Tensor:
        """Whether the probabilities alone leave the class open, bool (N,)."""
        if not self.conformal:
            return torch.logical_not(probabilities.amax(dim=1) >= self.unassigned_below)
        inside = (probabilities >= self.thresholds).to(probabilities.dtype)
        number = inside.sum(dim=1)
        decided = (number == 1) | (number == (inside * self.contains_ctc).sum(dim=1))
        clear = decided & ((inside * probabilities).amax(dim=1) >= probabilities.amax(dim=1))
        return ~clear

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
