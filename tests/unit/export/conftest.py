"""A checkpoint's predictor in little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ctcnet.model_card import ModelCard
from ctcnet.normalization import normalize, per_crop_levels
from ctcnet.runtime import Predictions


class TinyNetwork(nn.Module):
    """One convolution, pooled; gives (logits, embedding) as classifiers do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = torch.relu(self.conv(x)).mean((2, 3))
        return self.head(embedding), embedding

    def deployable(self) -> nn.Module:
        return self


class TinyPredictor:
    """Predictor of a `TinyNetwork`, its levels computed in numpy."""

    def __init__(self, card: ModelCard) -> None:
        torch.manual_seed(0)
        self.network, self.card = TinyNetwork().eval(), card

    @torch.no_grad()
    def predict(
        self, crops: np.ndarray, background: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> Predictions:
        levels = self.card.normalization
        if levels.mode == "per_crop":
            own = per_crop_levels(crops, levels.floor)
        else:
            own = (np.array(levels.background, np.float32), np.array(levels.scale, np.float32))
        used = [
            value if given is None else np.where(np.isnan(given), value, given)
            for given, value in zip((background, scale), own, strict=True)
        ]
        x = torch.from_numpy(normalize(crops.astype(np.float32), *used))
        logits, embedding = self.network(x)
        p = torch.softmax(logits / self.card.temperature, 1).numpy()
        refused = p.max(axis=1) < self.card.unassigned_below
        return Predictions(p, refused, np.full(len(p), np.nan, np.float32), embedding.numpy())


@pytest.fixture(scope="session")
def make_predictor(two_channel_card):
    """Makes a `TinyPredictor` of a mode."""

    def make(mode: str = "cartridge") -> TinyPredictor:
        levels = two_channel_card.normalization
        own = {"background": None, "scale": None} if mode == "per_crop" else {}
        return TinyPredictor(replace(two_channel_card, normalization=replace(levels, mode=mode, **own)))

    return make
