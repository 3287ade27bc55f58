"""Training a model anew without one batch, with the settings on a model's card."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import file_digest
from pathlib import Path

import yaml

from ctcnet.cli.models import load_checkpoint
from ctcnet.errors import ModelFileError, SettingError
from ctcnet.model_card import ModelCard
from ctcnet.panel import Panel
from ctcnet.runtime import Predictor
from ctcnet.training.shipped_weights import find_shipped, read_card, shipped_names, shipped_words


class LeaveOneOut:
    """Trains without one batch at a time; call it with the batch's name.

    Args:
        card: its training settings are followed, and its classes kept in their order.
        manifest: crops to train on.
        panel: channels of the images.
        assumed_pixel_size_um: micrometres per pixel of images that do not state theirs.
        folder: existing folder in which each run gets a folder of its own.
        device: 'auto', 'cpu' or 'cuda'.

    Raises:
        ModelFileError: the card holds no training settings, training started from weights that are not at hand, or
            another network taught the model.
    """

    def __init__(
        self,
        card: ModelCard,
        manifest: Path,
        panel: Panel,
        assumed_pixel_size_um: float | None,
        folder: Path,
        device: str,
    ) -> None:
        if "data" not in card.training_settings:
            raise ModelFileError(
                "card holds no training settings to train anew with",
                where=card.name,
                fix="give a model that `python train.py fit` made",
            )
        self.folder, self.device, self.card = folder.resolve(), device, card
        self._runs = 0
        settings = {
            key: dict(value) if isinstance(value, dict) else value for key, value in card.training_settings.items()
        }
        settings.pop("started_from", None)
        _check_start(card)
        _check_teacher(card)
        data = settings["data"]
        data |= {"manifest": str(manifest.resolve()), "panel": str(self.folder / "panel.yaml")}
        data |= {"labels": str(self.folder / "labels.yaml"), "pixel_size_um": card.pixel_size_um}
        if assumed_pixel_size_um is not None:
            data["assumed_pixel_size_um"] = assumed_pixel_size_um
        data["split"] = {**(data.get("split") or {}), "fold": None, "folds": None}
        if device != "auto":
            settings["trainer"] = {**settings.get("trainer", {}), "accelerator": "gpu" if device == "cuda" else "cpu"}
        for name, content in (("panel", panel.to_dict()), ("labels", card.labels.to_dict()), ("settings", settings)):
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def __call__(self, batch: str) -> tuple[Predictor, str]:
        """Train on all batches but `batch`; the model and the SHA-256 of its file.

        Raises:
            SettingError: training failed; its own message stands above.
        """
        self._runs += 1
        run_dir = self.folder / f"run_{self._runs:02d}"
        print(f"training without batch '{batch}'", flush=True)
        arguments = ["--config", str(self.folder / "settings.yaml"), f"--data.split.leave_out=batch={batch}"]
        command = [sys.executable, "-m", "ctcnet.training", "fit", *arguments, f"--run_dir={run_dir}"]
        package_parent = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
        finished = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False)
        if finished.returncode != 0:
            raise SettingError(
                f"training without batch '{batch}' failed",
                where="--leave-out",
                found=f"exit code {finished.returncode}",
                fix="see the message of the training above",
            )
        model = run_dir / "best.ckpt"
        with model.open("rb") as stream:
            digest = file_digest(stream, "sha256").hexdigest()
        return load_checkpoint(model, self.device), digest


def _check_start(card: ModelCard) -> None:
    """Raise ModelFileError where the model was not fine-tuned from the very weights that are shipped with this version.

    A card holds the name and the hash of what a run started from, and any folder may have a shipped model's name.
    """
    start_from = card.training_settings.get("model", {}).get("start_from")
    if start_from is None:
        return
    folder = find_shipped(start_from, "") if start_from in shipped_names() else None
    if folder is None:
        raise ModelFileError(
            "was fine-tuned from weights that are not at hand, and cannot be trained anew",
            where=card.name,
            expected=f"a model that started at random, or from {shipped_words()}",
            found=str(start_from),
            fix="give another model",
        )
    here, there = read_card(folder).weights_sha256, (card.training_settings.get("started_from") or {}).get("sha256")
    if here != there:
        raise ModelFileError(
            f"was fine-tuned from weights that are not those of the shipped '{start_from}', and cannot be trained anew",
            where=card.name,
            expected=f"weights of sha256 {here}",
            found=str(there),
            fix="use the version of ctcnet that it was fine-tuned with, or give another model",
        )


def _check_teacher(card: ModelCard) -> None:
    """Raise ModelFileError where a network taught the model that saw every batch, the one to be left out too."""
    taught_by = card.training_settings.get("taught_by")
    if taught_by is not None:
        raise ModelFileError(
            "was taught by a network that saw every batch, and cannot be trained anew without one",
            where=card.name,
            expected="a model that learnt from labels alone",
            found=f"taught by '{taught_by['model']}'",
            fix="give another model",
        )
