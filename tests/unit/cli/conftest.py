"""Crops on disk for the verbs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def crop_folder(tmp_path: Path) -> Path:
    """Folder `crops` of five .npy crops (2, 8, 8) uint16, `crops/a/0.npy` to `crops/a/4.npy`."""
    folder = tmp_path / "crops"
    (folder / "a").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        np.save(folder / "a" / f"{number}.npy", rng.integers(0, 1500, (2, 8, 8)).astype(np.uint16))
    return folder


@pytest.fixture
def manifest(crop_folder: Path) -> Path:
    """Manifest of the same crops in reverse order with the levels of two cartridges."""
    path = crop_folder / "list.csv"
    names = ["path", "background_DAPI", "background_CK", "scale_DAPI", "scale_CK"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        for number in reversed(range(5)):
            writer.writerow([f"a/{number}.npy", 10 + number % 2, 20, 300, 400])
    return path
