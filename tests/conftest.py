"""Fixtures that unit and integration tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

STAND_IN = "ctcnet-s"

settings.register_profile("without_deadline", deadline=None)  # a loaded machine is slow, which is no fault of the code
settings.load_profile("without_deadline")


@pytest.fixture(scope="session")
def stand_in_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `models` with a small untrained stand-in for the shipped model; not to be changed."""
    import torch

    from ctcnet.labels import load_schema
    from ctcnet.pretrained.universal_network import BACKBONE, build_universal
    from ctcnet.training.shipped_weights import WITH_PLATELET, write_shipped

    folder = tmp_path_factory.mktemp("installation") / "models"
    (folder / STAND_IN).mkdir(parents=True)
    labels = load_schema("five_class")
    weights = {}
    for seed, mode in enumerate(("cartridge", "per_crop", WITH_PLATELET)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weights[mode] = build_universal(len(labels.classes)).state_dict()
    card = {
        "name": STAND_IN,
        "backbone": BACKBONE,
        "labels": labels,
        "pixel_size_um": 0.64,
        "crop_size_px": 32,
        "class_shares": (0.22, 0.28, 0.17, 0.17, 0.16),
        "training": {"crops": 1000},
        "software_version": "0.1.0",
    }
    write_shipped(folder / STAND_IN, card, weights)
    return folder


@pytest.fixture
def shipped_models(stand_in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `models` of the stand-in, in the place of the installation's, and calibration on few crops."""
    from ctcnet.pretrained import calibration
    from ctcnet.training import shipped_weights

    monkeypatch.setattr(shipped_weights, "resource_dir", lambda kind: stand_in_folder)
    monkeypatch.setattr(calibration, "GROUPS", 13)  # 520 crops in each half
    monkeypatch.setattr(calibration, "ON_THE_SPOT", calibration.CalibrationSize(2, 2, 0))
    return stand_in_folder
