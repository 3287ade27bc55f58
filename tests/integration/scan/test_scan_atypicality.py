"""A cartridge whose channels are swapped is told from one that is like those that the model knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rule_model import CARTRIDGES

from ctcnet.scan.pipeline import cartridge_score, frame_analysis
from ctcnet.scan.pipeline.cartridge_score import EMBEDDING_COLUMN
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.simulate.cartridge_writer import write_simulated_cartridge

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def large_cartridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CellTracks cartridge with some hundred leukocytes."""
    folder = tmp_path_factory.mktemp("large") / "cartridge"
    return write_simulated_cartridge(
        folder, layout="celltracks", frames=8, nuclei_per_frame=100, seed=0, ctc=3, frame_size_px=(400, 320)
    )


def scanned(scan: Callable[..., int], cartridge: Path, out: Path) -> tuple[dict, str]:
    """What `quality.json` says, and the line of the summary."""
    assert scan(cartridge, out=out) == 0
    quality = json.loads((out / cartridge.name / "quality.json").read_text())
    return quality, (out / "summary.csv").read_text().splitlines()[1]


def test_swapped_channels_are_warned_of(scan, large_cartridge, tmp_path):
    quality, line = scanned(scan, large_cartridge, tmp_path / "out")
    found = quality["cartridge_atypicality"]
    assert found["of_leukocytes"]
    assert (found["cells"] >= 200, found["reference_cartridges"], found["reason"]) == (True, CARTRIDGES, None)
    assert found["score"] < 1
    assert "atypical_cartridge" not in line

    swapped = Path(shutil.copytree(large_cartridge, tmp_path / "swapped"))
    record = next(swapped.glob("*.xml"))
    text = record.read_text().replace(">DNA<", ">other<").replace(">CK-PE<", ">DNA<").replace(">other<", ">CK-PE<")
    record.write_text(text)
    quality, line = scanned(scan, swapped, tmp_path / "swapped_out")
    assert quality["cartridge_atypicality"]["score"] > 1
    (warning,) = [entry["message"] for entry in quality["warnings"] if entry["flag"] == "atypical_cartridge"]
    assert "swapped" in warning
    assert "atypical_cartridge" in line
    assert "above 1 is atypical" in (tmp_path / "swapped_out/swapped/report.html").read_text()


def test_a_model_without_a_reference_says_so(scan, other_model, cartridge_source, tmp_path):
    assert scan(cartridge_source, out=tmp_path / "out", model=other_model) == 0
    quality = json.loads((tmp_path / "out/cartridge/quality.json").read_text())
    assert quality["cartridge_atypicality"]["score"] is None
    assert "no reference" in quality["cartridge_atypicality"]["reason"]


def test_a_crowded_frame_keeps_the_embeddings_of_the_same_cells(scan, cartridge_source, tmp_path, monkeypatch):
    kept = []
    write_unit = WorkFolder.write_unit

    def watched(work, unit, table, records):
        kept.append((unit, table[EMBEDDING_COLUMN].to_pylist()))
        write_unit(work, unit, table, records)

    monkeypatch.setattr(WorkFolder, "write_unit", watched)
    monkeypatch.setattr(cartridge_score, "SAMPLED_CELLS", 12)  # 2 of each frame
    for name, most in (("waiting", 4096), ("crowded", 7)):
        monkeypatch.setattr(frame_analysis, "MOST_CROPS_WAITING", most)
        assert scan(cartridge_source, out=tmp_path / name) == 0
    first, second = dict(kept[:2]), dict(kept[2:])
    assert sum(value is not None for column in first.values() for value in column) == 12
    assert second == first
