"""Files of a simulation: same bytes for the same seed, axes and names in the metadata, honest levels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.cli import main
from ctcnet.errors import OutputError, SettingError
from ctcnet.simulate.crop_writer import write_simulated_crops

pytestmark = pytest.mark.unit


def _rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_simulated_crops(tmp_path / name, count=15, seed=0, groups=3)
    first, second = (
        {f.relative_to(d): f.read_bytes() for f in d.rglob("*.*")} for d in (tmp_path / "a", tmp_path / "b")
    )
    assert len(first) == 17
    assert first == second


def test_files_and_manifest_agree(tmp_path: Path) -> None:
    manifest = write_simulated_crops(tmp_path / "out", count=20, seed=3, groups=4)
    rows = _rows(manifest)
    assert len(rows) == 20
    assert len({row["path"] for row in rows}) == 20
    for row in rows:
        assert Path(row["path"]).parts[1] == row["label"]
        assert float(row["pixel_size_um"]) == 0.64
        assert all(float(row[f"scale_{name}"]) > 0 for name in ("DAPI", "CK", "CD45", "CD66b", "CD61"))
    with tifffile.TiffFile(manifest.parent / rows[0]["path"]) as tiff:
        assert tiff.series[0].axes == "CYX"
        assert tiff.series[0].shape == (5, 64, 64)
        assert tiff.asarray().dtype == np.uint16
        description = json.loads(tiff.pages[0].description)  # type: ignore[union-attr]
    assert description["channel_names"] == ["DAPI", "CK", "CD45", "CD66b", "CD61"]
    settings = json.loads((manifest.parent / "simulation.json").read_text())
    assert settings["simulated"] is True
    assert settings["seed"] == 3


def test_a_larger_aperture_gives_sharper_crops(tmp_path: Path) -> None:
    sharpness = {}
    for aperture in ("0.3", "0.8"):
        out = tmp_path / aperture
        words = ["simulate", "crops", str(out), "--count", "15", "--groups", "3", "--seed", "2"]
        assert main([*words, "--numerical-aperture", aperture]) == 0
        assert json.loads((out / "simulation.json").read_text())["numerical_aperture"] == float(aperture)
        nuclei = [tifffile.imread(out / row["path"])[0].astype(float) for row in _rows(out / "manifest.csv")]
        sharpness[aperture] = np.median([np.abs(np.diff(crop)).max() / np.ptp(crop) for crop in nuclei])
    assert sharpness["0.8"] > 1.2 * sharpness["0.3"]


def test_levels_put_leukocytes_at_one(tmp_path: Path) -> None:
    manifest = write_simulated_crops(tmp_path / "out", count=200, seed=0, groups=4, class_fractions={"leukocyte": 1})
    place = (np.arange(64) - 31.5) * 0.64
    inside = np.hypot(place[:, None], place[None, :]) <= 2.5
    levels = []
    for row in _rows(manifest):
        crop = tifffile.imread(manifest.parent / row["path"]).astype(float)
        scaled = [
            (crop[i] - float(row[f"background_{name}"])) / float(row[f"scale_{name}"])
            for i, name in enumerate(("DAPI", "CK", "CD45"))
        ]
        levels.append([channel[inside].mean() for channel in scaled])
    dapi, ck, cd45 = np.median(levels, axis=0)
    assert dapi == pytest.approx(1, abs=0.15)
    assert cd45 == pytest.approx(1, abs=0.15)
    assert 0.4 < ck < 1.1


def test_display_merge_is_eight_bit_and_has_no_cartridge_levels(tmp_path: Path) -> None:
    manifest = write_simulated_crops(tmp_path / "out", count=5, seed=0, groups=1, panel="rgb_merge", pixel_size_um=0.5)
    row = _rows(manifest)[0]
    assert not [name for name in row if name.startswith(("background_", "scale_"))]
    assert tifffile.imread(manifest.parent / row["path"]).dtype == np.uint8


def test_existing_output_is_kept_unless_told(tmp_path: Path) -> None:
    manifest = write_simulated_crops(tmp_path / "out", count=5, seed=0, groups=1)
    with pytest.raises(OutputError, match="exists already"):
        write_simulated_crops(tmp_path / "out", count=5, seed=1, groups=1)
    write_simulated_crops(tmp_path / "out", count=6, seed=1, groups=1, overwrite=True)
    assert len(_rows(manifest)) == 6


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="difficulty"):
        write_simulated_crops(tmp_path / "out", count=5, seed=0, difficulty="absurd")
    with pytest.raises(SettingError, match="device"):
        write_simulated_crops(tmp_path / "out", count=5, seed=0, device="nowhere")
    assert list(tmp_path.iterdir()) == []
