"""A small data set, its files, and commands upon it that must be refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.cli.main import main
from ctcnet.panel import Channel, Panel

PANEL = Panel("two", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial")), 12, 0.5)
CLASSES = ("ctc", "leukocyte")
SIDE = 16
VERBS = ("check", "pack", "fit", "evaluate", "classify")


def write_image(path: Path, image: np.ndarray) -> None:
    path.unlink(missing_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack", metadata={"axes": "CYX"})


def write_yaml(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content))  # JSON is YAML


def read_manifest(data: Path) -> list[dict[str, str]]:
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_manifest(data: Path, rows: list[dict[str, str]]) -> None:
    with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def words(verb: str, data: Path, model: Path, source: Path | None = None) -> list[str]:
    """Arguments of a verb upon the data."""
    manifest, out = source or data / "manifest.csv", data.parent / "out"
    panel, labels = data / "panel.yaml", data / "labels.yaml"
    common = ["--panel", panel, "--labels", labels]
    arguments = {
        "check": ["check", manifest, *common],
        "pack": ["pack", manifest, *common, "-o", out / "store", "--crop-size-px", SIDE],
        "fit": [
            *("train", "fit", "--data.manifest", manifest, "--data.panel", panel, "--data.labels", labels),
            *("--data.crop_size_px", SIDE, "--data.split.val_fraction", 0.3, "--data.batch_size", 4),
            *("--trainer.max_epochs", 1, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
            *("--run_dir", out / "run"),
        ],
        "evaluate": ["evaluate", model / "model.onnx", manifest, "--panel", panel, "-o", out / "e", "--bootstrap", 0],
        "classify": ["classify", model / "model.onnx", manifest, "--panel", panel, "-o", out / "t.csv", "--threads", 1],
        "export": ["export", model / "best.ckpt", "-o", out / "m.onnx"],
    }
    return [str(word) for word in arguments[verb]]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """Run a command that must fail with one clear message, and give all that it printed."""
    capsys.readouterr()
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    if code == 2:
        assert printed.err.count("error: ") == 1
    return printed.out + printed.err


def cut_crop(data: Path) -> None:
    (data / "3.tif").write_bytes((data / "3.tif").read_bytes()[:500])
