"""Small tasks on disk: five channels, three classes, twelve groups."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

CLASSES = ("ctc", "leukocyte", "debris")
BRIGHT = np.array([[1, 1, 0, 0, 0], [1, 0.1, 1, 0, 0], [0, 0.6, 0.1, 0, 0]])
SIDE = 32

LABELS = """
name: three
classes: [ctc, leukocyte, debris]
rollups: {contains_ctc: [ctc]}
"""
CONFIG = """
seed_everything: 0
trainer: {max_epochs: 3, accelerator: cpu, enable_progress_bar: false}
model:
  dropout: 0.3
  ema_decay: 0.9
data:
  panel: ctc5
  crop_size_px: 32
  normalization: fixed
  batch_size: 16
  split: {val_fraction: 0.25}
  augmentation:
    {affine: 0.5, rotate_deg: 15, shift_px: 2, zoom: 0.1, gain: 0.2, offset: 0.02, defocus: 0.5, defocus_px: 1,
     shot_noise: 0.2, channel_drop: 0.1}
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with manifest.csv, labels.yaml and config.yaml."""
    return _write_task(tmp_path_factory.mktemp("task"), 144)


@pytest.fixture(scope="session")
def larger_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with 480 crops, of which 120 are for validation."""
    return _write_task(tmp_path_factory.mktemp("larger_task"), 480)


def _write_task(folder: Path, crops: int) -> Path:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    lines = ["path,label,group,batch"]
    for number in range(crops):
        label = number % 3
        centre = rng.uniform(12, 20, 2)
        blob = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 40)
        stain = np.clip(BRIGHT[label] + rng.normal(0, 0.15, 5), 0, None)[:, None, None]
        counts = 100 + 900 * stain * blob + rng.normal(0, 8, (5, SIDE, SIDE))
        image = np.clip(np.rint(counts), 0, 4095).astype(np.uint16)
        tifffile.imwrite(folder / f"{number:03d}.tif", image, metadata={"axes": "CYX"}, photometric="minisblack")
        group = (number // 3) % 12
        lines.append(f"{number:03d}.tif,{CLASSES[label]},g{group},b{group % 3}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "labels.yaml").write_text(LABELS)
    (folder / "config.yaml").write_text(
        CONFIG.replace("  panel:", f"  manifest: {folder}/manifest.csv\n  labels: {folder}/labels.yaml\n  panel:")
    )
    return folder


@pytest.fixture(scope="session")
def fit_options(task: Path) -> Callable[..., list[str]]:
    """Makes the arguments of a fit of the task into a run folder."""
    return lambda run_dir, *more: ["fit", "--config", str(task / "config.yaml"), "--run_dir", str(run_dir), *more]


@pytest.fixture
def stop_fit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a fit that fails after it wrote last.ckpt at a step, by default 8."""
    from ctcnet.training.command_line import main
    from ctcnet.training.model_selection import ModelSelection

    save = ModelSelection._save_last

    def fit(options: list[str], step: int = 8) -> None:
        def save_and_stop(self: ModelSelection, trainer) -> None:
            save(self, trainer)
            if trainer.global_step == step:
                raise RuntimeError("stopped")

        with monkeypatch.context() as patch:
            patch.setattr(ModelSelection, "_save_last", save_and_stop)
            with pytest.raises(RuntimeError, match="stopped"):
                main(options)

    return fit


@pytest.fixture(scope="session")
def start() -> Callable[[list[str]], subprocess.Popen]:
    """Starts training in a process of its own, on the CPU with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return lambda options: subprocess.Popen(
        [sys.executable, "-m", "ctcnet.training", *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
