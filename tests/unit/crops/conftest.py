"""Small panels, images and manifests on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.panel import Channel, Panel


@pytest.fixture
def panel3() -> Panel:
    channels = (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte"))
    return Panel("three", channels, bit_depth=12)


@pytest.fixture
def rgb_panel() -> Panel:
    planes = (Channel("DAPI", "nucleus", plane="B"), Channel("CK", "epithelial", plane="R"))
    return Panel("merge", planes, bit_depth=8, pixel_size_um=0.5)


@pytest.fixture
def image3() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 4096, (3, 10, 12)).astype(np.uint16)


@pytest.fixture
def write_manifest(tmp_path: Path) -> Callable[..., Path]:
    """Write a CSV below tmp_path from its lines."""

    def write(*lines: str, name: str = "manifest.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_crops(tmp_path: Path, write_manifest: Callable[..., Path]) -> Callable[..., Path]:
    """Write n random crops of 3 channels as CYX TIFF, and their manifest; two classes, three groups."""

    def make(
        count: int = 6, *, size: Sequence[int] = (10, 12), columns: str = "", values: str = "", labels: str = "ab"
    ) -> Path:
        rng = np.random.default_rng(0)
        lines = [f"path,label,group{columns}"]
        for number in range(count):
            image = rng.integers(0, 4000, (3, *size)).astype(np.uint16)
            tifffile.imwrite(tmp_path / f"{number}.tif", image, metadata={"axes": "CYX"})
            lines.append(f"{number}.tif,{labels[number % 2]},g{number % 3}{values}")
        return write_manifest(*lines)

    return make
