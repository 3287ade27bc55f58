"""A checkpoint of an untrained network with the five classes on the five-colour panel."""

from __future__ import annotations

from pathlib import Path

import torch

from ctcnet.labels import load_schema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard
from ctcnet.networks import build_classifier
from ctcnet.panel import load_panel
from ctcnet.training.checkpoint import write_model


def write_untrained_checkpoint(
    path: Path,
    size_px: int,
    *,
    backbone: str = "compact",
    mode: str = "cartridge",
    sharpness: float = 1.0,
    unassigned_below: float = 0.1,
    seed: int = 0,
) -> Path:
    """Write it; batch norm has learnt statistics of noise, and the last layer is multiplied by `sharpness`."""
    torch.manual_seed(seed)
    panel, labels = load_panel("ctc5"), load_schema("five_class")
    network = build_classifier(backbone, panel.roles, len(labels.classes))
    with torch.no_grad():
        for _ in range(3):
            crops = torch.randn(16, 5, size_px, size_px) * 0.5 + 0.3
            network.train()(crops, sample_seed=torch.arange(16))
        network.head.weight.mul_(sharpness)
    background, scale = (None, None) if mode == "per_crop" else ((90.0,) * 5, (400.0,) * 5)
    card = ModelCard(
        name="fresh",
        backbone=backbone,
        panel=panel,
        labels=labels,
        pixel_size_um=0.64,
        crop_size_px=size_px,
        normalization=NormalizationCard(mode, background, scale, 64.0),
        temperature=1.2,
        training_prior=(0.2,) * 5,
        unassigned_below=unassigned_below,
        training_data=TrainingDataCard("cd" * 32, True, 20, 4, {}, ()),
        software_version="0.1.0",
    )
    write_model(path, network.eval(), card, epoch=0, step=1)
    return path
