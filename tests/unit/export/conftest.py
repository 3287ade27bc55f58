"""Checkpoints' predictors in little, and crops for them."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ctcnet.crops import LabelledCrops
from ctcnet.crops.memory_source import simulated_in_memory
from ctcnet.export.parity import random_crops
from ctcnet.model_card import ConformalCard, ModelCard
from ctcnet.normalization import normalize, per_crop_levels
from ctcnet.runtime import Predictions
from ctcnet.runtime.cartridge_atypicality import CartridgeReference, fit_cartridges
from ctcnet.runtime.conformal import judge_unassigned
from ctcnet.uncertainty import Atypicality, fit_atypicality, typical_features

COUNT, GROUPS = 600, 12


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

    def __init__(self, card: ModelCard, uncertain: bool = False) -> None:
        torch.manual_seed(0)
        self.network, self.card = TinyNetwork().eval(), card
        self.atypicality: Atypicality | None = None
        self.cartridge_reference: CartridgeReference | None = None
        if uncertain:
            x = torch.rand(600, 2, card.crop_size_px, card.crop_size_px)
            found = typical_features(self.network, [x])
            self.atypicality = fit_atypicality(found.embedding, found.statistics, np.arange(600) % 5)
            rng = np.random.default_rng(0)
            self.cartridge_reference = fit_cartridges(list(rng.normal(size=(40, 12))))

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
        atypicality = np.full(len(p), np.nan, np.float32)
        if self.atypicality is not None:
            atypicality = self.atypicality(x, embedding).numpy()
        return Predictions(p, judge_unassigned(p, atypicality, self.card), atypicality, embedding.numpy())


@pytest.fixture(scope="session")
def make_predictor(two_channel_card):
    """Makes a `TinyPredictor` of a mode; an `uncertain` one has atypicality, conformal sets and known cartridges."""

    def make(mode: str = "cartridge", uncertain: bool = False, crop_size_px: int | None = None) -> TinyPredictor:
        levels = two_channel_card.normalization
        own = {"background": None, "scale": None} if mode == "per_crop" else {}
        side = two_channel_card.crop_size_px if crop_size_px is None else crop_size_px
        card = replace(two_channel_card, normalization=replace(levels, mode=mode, **own), crop_size_px=side)
        if uncertain:
            conformal = ConformalCard((0.1,) * 5, (0.3, 0.3, 0.23, 0.3, 0.3), (100,) * 5)
            card = replace(card, conformal=conformal, atypicality_quantile=0.998)
        return TinyPredictor(card, uncertain)

    return make


@pytest.fixture
def older_export_cut_off(tmp_path, monkeypatch) -> Path:
    """A folder with an older export `m.onnx`; of a newer one a single file comes to its place, then all is cut off."""
    for name in ("m.onnx", "m.card.json", "m.README.md", "m.onnx.sig", "m.sbom.json"):
        (tmp_path / name).write_text("older")
    moved = []

    def replace_once(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        os.rename(source, target)

    monkeypatch.setattr("ctcnet.output.os.replace", replace_once)
    return tmp_path


class DeepNetwork(nn.Module):
    """Three convolutions with a sum; activations at most `limit`. Gives (logits, embedding) as classifiers do."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.first, self.second, self.third = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self._bounded(self.second(self._bounded(self.first(x.clamp(max=10)))))
        embedding = self._bounded(self.third(maps) + maps[:, :, 1:-1, 1:-1]).mean((2, 3))
        return self.head(embedding), embedding

    def _bounded(self, values: Tensor) -> Tensor:
        return torch.relu(values) if self.limit == math.inf else values.clamp(0.0, self.limit)

    def deployable(self) -> nn.Module:
        return self


@pytest.fixture(scope="session")
def make_deep_predictor(make_predictor):
    """Makes a predictor of a `DeepNetwork` with a limit of its activations."""

    def make(limit: float) -> TinyPredictor:
        made = make_predictor()
        torch.manual_seed(1)
        made.network = DeepNetwork(limit).eval()
        return made

    return make


@pytest.fixture(scope="session")
def deep_predictor(make_deep_predictor):
    return make_deep_predictor(math.inf)


@pytest.fixture(scope="session")
def crops(deep_predictor) -> LabelledCrops:
    """Crops labelled with what the float32 model of `deep_predictor` calls them."""
    card = deep_predictor.card
    pixels = random_crops(card, COUNT, np.random.default_rng(5))
    called = deep_predictor.predict(pixels).probabilities.argmax(1)
    levels = np.full((COUNT, 2), np.nan, np.float32)
    group = np.array([f"g{row % GROUPS}" for row in range(COUNT)], object)
    return simulated_in_memory(card, pixels, called, group, levels, levels)
