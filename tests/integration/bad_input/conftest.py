"""A small data set and a small model for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_input_commands import (
    CLASSES,
    PANEL,
    SIDE,
    write_image,
    write_manifest,
    write_yaml,
)

from ctcnet.export.export import export_predictor
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard
from ctcnet.networks import build_classifier
from ctcnet.training.checkpoint import load_classifier, write_model


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with best.ckpt and model.onnx."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = build_classifier("compact", PANEL.roles, len(CLASSES)).eval()
    card = ModelCard(
        name="small",
        backbone="compact",
        panel=PANEL,
        labels=LabelSchema("pair", CLASSES),
        pixel_size_um=0.5,
        crop_size_px=SIDE,
        normalization=NormalizationCard("fixed", (100.0, 100.0), (400.0, 400.0), 64.0),
        temperature=1.0,
        training_prior=(0.5, 0.5),
        unassigned_below=0.3,
        training_data=TrainingDataCard("cd" * 32, True, 10, 2, {}, ()),
        software_version="0.1.0",
    )
    write_model(folder / "best.ckpt", network, card, epoch=0, step=1)
    export_predictor(load_classifier(folder / "best.ckpt"), folder / "model.onnx")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folder with twelve crops of four groups, their manifest, the panel and the labels; outputs go to `out`."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "out").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        write_image(folder / f"{number}.tif", rng.integers(50, 900, (2, SIDE, SIDE)).astype(np.uint16))
        rows.append({"path": f"{number}.tif", "label": CLASSES[number % 2], "group": f"g{number // 3}"})
    write_manifest(folder, rows)
    write_yaml(folder / "panel.yaml", PANEL.to_dict())
    write_yaml(folder / "labels.yaml", {"name": "pair", "classes": list(CLASSES)})
    return folder
