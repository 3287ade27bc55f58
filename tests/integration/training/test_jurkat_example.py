"""The worked example of "your own data": the commands in its configuration, on pictures made by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from pyarrow import parquet

from ctcnet.cli import main
from ctcnet.labels import load_schema
from ctcnet.training import command_line

pytestmark = pytest.mark.integration

CONFIGS = Path(__file__).parents[3] / "configs"
SIDE_PX = 40


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A picture of each phase for each group of the fixed folds, brighter from phase to phase, without a pixel size."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - SIDE_PX / 2
    cell = np.exp(-(x**2 + y**2) / 50)
    with (CONFIGS / "folds" / "jurkat_phases.csv").open() as stream:
        groups = [row["group"] for row in csv.DictReader(stream)]
    rows = ["path,label,group"]
    (tmp_path / "crops").mkdir()
    for group in groups:
        for number, phase in enumerate(load_schema("jurkat_phases").classes):
            path = tmp_path / "crops" / f"{phase}_{group}.tif"
            stains = np.stack([1000 - 300 * cell, 100 + 500 * (number + 1) * cell, 50 + 400 * cell])
            counts = (stains + random.normal(0, 10, stains.shape)).round().clip(0, 4095).astype(np.uint16)
            tifffile.imwrite(path, counts, photometric="minisblack", metadata=None)
            rows.append(f"{path.name},{phase},{group}")
    (tmp_path / "crops" / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "crops" / "manifest.csv"


def test_commands_of_the_example_work_as_they_stand(manifest: Path, tmp_path: Path, monkeypatch) -> None:
    lines = (CONFIGS / "jurkat_phases.yaml").read_text().splitlines()
    places = {"MANIFEST": manifest, "CROPS": manifest.parent, "RUN": tmp_path / "run"}
    commands = [line.removeprefix("# ") for line in lines if line.startswith(("# python train.py", "# ctcnet"))]
    for name, place in places.items():
        commands = [command.replace(name, str(place)) for command in commands]
    fit, *others = (command.split() for command in commands)
    torch.set_num_threads(1)
    monkeypatch.chdir(CONFIGS.parent)
    assert command_line.main([*fit[2:], "--trainer.max_epochs", "1"]) == 0
    assert [words[:2] for words in others] == [["ctcnet", "evaluate"], ["ctcnet", "classify"]]
    for words in others:
        assert main(words[1:]) == 0
    assert (tmp_path / "run/evaluation/report.html").is_file()
    assert len(parquet.read_table(tmp_path / "run/predictions.parquet")) == 7 * 30
