"""A cartridge that was simulated says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.panel import Channel, Panel
from ctcnet.scan.readers.opening import open_cartridge

pytestmark = pytest.mark.unit


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    for marker in ("DAPI", "CK", "CD45"):
        tifffile.imwrite(tmp_path / f"0_{marker}.tif", np.full((64, 64), 7, np.uint16))
    return tmp_path


def is_simulated(folder: Path) -> object:
    panel = Panel("p", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte")), 16, 0.5)
    cartridge = open_cartridge(folder, pattern="{frame}_{channel}.tif", panel=panel, pixel_size_um=0.5)
    return cartridge.metadata.get("simulated", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(json.dumps({"simulated": True}), True), (json.dumps({"simulated": False}), False), ("[1]", False), ("{", False)],
)
def test_record_of_the_simulation_is_found(tiles: Path, text: str, expected: bool) -> None:
    (tiles / "simulation.json").write_text(text, encoding="utf-8")
    assert is_simulated(tiles) is expected


def test_cartridge_without_a_record_is_not_called_simulated(tiles: Path) -> None:
    assert is_simulated(tiles) is False
