"""A model without a network, and crops that it half understands, for tests of whole evaluations."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ctcnet.labels import load_schema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard, hash_group
from ctcnet.normalization import normalize
from ctcnet.panel import load_panel
from ctcnet.runtime import Predictions

SIZE = 32
STAINS = {
    "ctc": (3, 6, 0, 0, 0),
    "leukocyte": (3, 1, 4, 1, 0),
    "ctc_neutrophil_cluster": (3, 5, 2, 4, 0),
    "ctc_platelet_cluster": (3, 5, 0, 0, 4),
    "debris": (0, 2, 0, 1, 1),
}
"""Stain of each channel of the panel ctc5 in units of the channel's scale."""


class StainModel:
    """Calls the class whose stains are nearest; an answer fit for the Predictor protocol."""

    cartridge_reference = None
    batch_size = 64
    calls_at_once = 1

    def __init__(self, seen: tuple[str, ...] = (), simulated: bool = False, mode: str = "cartridge") -> None:
        own = None if mode == "per_crop" else (100.0,) * 5
        self.card = ModelCard(
            name="nearest-stain",
            backbone="none",
            panel=load_panel("ctc5"),
            labels=load_schema("five_class"),
            pixel_size_um=0.64,
            crop_size_px=SIZE,
            normalization=NormalizationCard(mode, own, own, 64.0),
            temperature=1.0,
            training_prior=(0.2,) * 5,
            unassigned_below=0.5,
            training_data=TrainingDataCard("0" * 64, simulated, 10, len(seen), {}, tuple(map(hash_group, seen))),
            software_version="0",
        )

    def predict(
        self, crops: np.ndarray, background: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> Predictions:
        own = np.full(5, 100.0)
        background = own if background is None or np.isnan(background).any() else background
        scale = own if scale is None or np.isnan(scale).any() else scale
        middle = SIZE // 4
        stain = normalize(crops.astype(np.float32), background, scale)[:, :, middle:-middle, middle:-middle]
        distance = stain.mean(axis=(2, 3))[:, None] - np.array(list(STAINS.values()))[None]
        logits = -0.5 * (distance**2).sum(axis=2)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
        nothing = np.full(len(p), np.nan, np.float32)
        return Predictions(p, p.max(axis=1) < 0.5, nothing, np.zeros((len(p), 0), np.float32))


def write_crops(folder: Path, count: int = 120, groups: int = 6, spread: float = 1.2, seed: int = 0) -> Path:
    """Write crops (.npy) and a manifest with cartridge levels and batches; returns the manifest."""
    rng = np.random.default_rng(seed)
    names, rows = list(STAINS), []
    distance = np.hypot(*np.meshgrid(np.arange(SIZE) - SIZE / 2 + 0.5, np.arange(SIZE) - SIZE / 2 + 0.5))
    for index in range(count):
        label = names[index % 5]
        group = int(rng.integers(groups))
        scale = 80 + 10 * group
        stain = np.maximum(np.array(STAINS[label]) + rng.normal(0, spread, 5), 0)
        disc = 1 / (1 + np.exp(distance - rng.uniform(8, 12)))
        image = 100 + scale * stain[:, None, None] * disc[None] + rng.normal(0, 12, (5, SIZE, SIZE))
        np.save(folder / f"crop{index:04d}.npy", np.clip(image, 0, 4095).astype(np.uint16))
        row = {"path": f"crop{index:04d}.npy", "label": label, "group": f"patient-{group}"}
        row |= {"cartridge": f"cartridge-{group}", "batch": ("site-A", "site-B")[group % 2]}
        row |= {"split": "test" if group else "train"}
        for marker in ("DAPI", "CK", "CD45", "CD66b", "CD61"):
            row |= {f"background_{marker}": "100", f"scale_{marker}": str(scale)}
        rows.append(row)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest
