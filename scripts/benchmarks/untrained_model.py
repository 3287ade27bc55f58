"""Exported graphs of untrained networks, which take as long as trained ones."""

from __future__ import annotations

from pathlib import Path

import torch

from ctcnet import __version__
from ctcnet.export import export_predictor
from ctcnet.labels import load_schema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard
from ctcnet.networks import build_classifier
from ctcnet.panel import load_panel
from ctcnet.training.torch_predictor import TorchPredictor


def untrained_card(backbone: str, panel_name: str, crop_size_px: int) -> ModelCard:
    panel, labels = load_panel(panel_name), load_schema("five_class")
    channels, classes = len(panel.channels), len(labels.classes)
    return ModelCard(
        name=backbone,
        backbone=backbone,
        panel=panel,
        labels=labels,
        pixel_size_um=0.64,
        crop_size_px=crop_size_px,
        normalization=NormalizationCard("cartridge", (100.0,) * channels, (500.0,) * channels, 64.0),
        temperature=1.0,
        training_prior=(1 / classes,) * classes,
        unassigned_below=0.5,
        training_data=TrainingDataCard("0" * 64, True, 0, 0, {}, ()),
        software_version=__version__,
    )


def write_untrained(card: ModelCard, path: Path) -> torch.nn.Module:
    """Export the card's network with untrained weights; gives the network as it is in the graph."""
    torch.manual_seed(0)
    network = build_classifier(card.backbone, card.panel.roles, len(card.labels.classes))
    export_predictor(TorchPredictor(network, card), path, overwrite=True)
    return network.deployable()
