"""A scan with spillover: how high the background of another channel is changes no stain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from pyarrow import parquet
from rule_model import THREE_CHANNELS

pytestmark = pytest.mark.integration

MARKERS = ("DAPI", "CK", "CD45")
BACKGROUND = {"DAPI": 200, "CK": 100, "CD45": 100}
SHARE = 0.2
SIDE_PX, PITCH_PX = 240, 40
PLATFORM = f"name: mine\nlayout: folder\nbit_depth: 12\nspillover: {{CK: {{CD45: {SHARE}}}}}\n"


def _write_frame(folder: Path, ck_background: float) -> None:
    """Leukocytes in a grid and one tumour cell, whose CK shows in CD45."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    counts = {marker: np.full((SIDE_PX, SIDE_PX), float(level)) for marker, level in BACKGROUND.items()}
    centres = [(a, b) for a in range(30, SIDE_PX - 20, PITCH_PX) for b in range(30, SIDE_PX - 20, PITCH_PX)]
    for number, (row, column) in enumerate(centres):
        disc = 1 / (1 + np.exp((np.hypot(y - row, x - column) - (10 if number == 8 else 7)) / 0.8))
        counts["DAPI"] += 900 * disc
        counts["CK"] += 900 * disc * (number == 8)
        counts["CD45"] += (SHARE * 900 if number == 8 else 350) * disc
    counts["CK"] += ck_background - BACKGROUND["CK"]
    noise = np.random.default_rng(1)
    folder.mkdir()
    for marker, values in counts.items():
        tifffile.imwrite(
            folder / f"1_{marker}.tif", np.rint(values + noise.normal(0, 4, values.shape)).astype("uint16")
        )


def test_a_high_background_of_the_source_takes_nothing_from_the_target(scan, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(PLATFORM)
    (tmp_path / "three.yaml").write_text(THREE_CHANNELS)
    options = ["--platform", str(tmp_path / "mine.yaml"), "--panel", str(tmp_path / "three.yaml")]
    options += ["--pattern", "{frame}_{channel}.tif", "--pixel-size-um", "0.64"]
    tables = []
    for level in (100, 1500):
        _write_frame(tmp_path / f"ck{level}", level)
        out = tmp_path / f"out{level}"
        assert scan(tmp_path / f"ck{level}", out=out, options=tuple(options)) == 0
        tables.append(parquet.read_table(out / f"ck{level}" / "events.parquet").to_pandas())
    low, high = tables
    assert len(low) == len(high) >= 25
    np.testing.assert_allclose(high["mean_CD45"], low["mean_CD45"], atol=2)
    assert low["mean_CD45"].nlargest(20).min() > 100
    assert abs(low["mean_CD45"][low["mean_CK"].idxmax()]) < 30
