"""Runs with few labels: what takes part, and a result that is kept and not computed again."""

from __future__ import annotations

from pathlib import Path

import few_labels
import numpy as np
import pytest
import tifffile
from few_labels import Bench, Recipe, Run

pytestmark = pytest.mark.unit

CLASSES = ("g1", "s", "g2", "prophase", "metaphase", "anaphase", "telophase")
CONFIG = """
model: {backbone: compact, dropout: 0.0, ema_decay: 0.5, loss: {tau: 0.5}, optimizer: {weight_decay: 0.0}}
data:
  panel: jurkat_phases
  labels: jurkat_phases
  pixel_size_um: 1.0
  assumed_pixel_size_um: 0.5
  crop_size_px: 16
  normalization: fixed
  split: {folds: FOLDS}
  augmentation: {backend: device, dihedral: true}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Six crops of each class in three groups, a fold each; a class is as bright as its number."""
    rng = np.random.default_rng(0)
    rows, folds = ["path,label,group"], ["group,fold"]
    channels = len(few_labels.load_panel("jurkat_phases").channels)
    for group in range(3):
        folds.append(f"row_{group},{group}")
        for place, name in enumerate(CLASSES):
            for number in (0, 1):
                path = f"{name}_{group}_{number}.tif"
                crop = rng.integers(100 + 300 * place, 150 + 300 * place, (channels, 32, 32))
                tifffile.imwrite(tmp_path / path, crop.astype(np.uint16), photometric="minisblack")
                rows.append(f"{path},{name},row_{group}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "folds.csv").write_text("\n".join(folds) + "\n")
    (tmp_path / "config.yaml").write_text(CONFIG.replace("FOLDS", str(tmp_path / "folds.csv")))
    return Bench(tmp_path / "config.yaml", tmp_path / "manifest.csv", tmp_path / "out")


def test_labels_come_from_the_folds_named_and_answers_from_the_fold_left_out(bench: Bench) -> None:
    run = Run("compact, random", 1, 0, 2, (0, 1), Recipe(1e-3, 2))

    part = bench.parts(run)
    assert (part[bench.fold == 2] == "test").all()
    assert (part == "train").sum() == len(CLASSES)
    assert not set(bench.crops.group[part == "train"]) & set(bench.crops.group[part == "test"])

    found = bench.result(run)
    assert found["labels_used"] == len(CLASSES)
    assert found["path"] == [str(name) for name in bench.crops.path[bench.fold == 2]]
    assert found["truth"] == bench.crops.labels[bench.fold == 2].tolist()
    assert len(found["called"]) == len(found["truth"])


def test_a_finished_run_is_not_trained_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("compact, random", 1, 0, 0, (1, 2), Recipe(1e-3, 1))
    monkeypatch.setattr(Bench, "_train", lambda self, run, part: np.zeros(int((part == "test").sum()), dtype=int))
    first = bench.result(run)
    monkeypatch.delattr(Bench, "_train")

    assert bench.result(run) == first
