"""`metrics.csv`: one row per epoch, which survives a resumed run without gaps or repeats."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ctcnet.errors import SettingError

COLUMNS: tuple[str, ...] = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "val_log_loss",
    "val_macro_f1",
    "val_balanced_accuracy",
    "val_accuracy",
    "val_mean_average_precision",
    "seconds",
)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics table, none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_metrics(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a metrics table; the file appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


class MetricsTable(Callback):
    """Writes `metrics.csv` into the run folder after each epoch.

    On resume, rows of steps after the checkpoint are cut and the running mean of the loss goes on where it was.
    """

    def __init__(self) -> None:
        self.run_dir = Path()
        self._loss: torch.Tensor | float = 0.0
        self._batches = 0
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"loss": float(self._loss), "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loss, self._batches = float(state_dict["loss"]), int(state_dict["batches"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            path = self.run_dir / "metrics.csv"
            write_metrics(path, [row for row in read_metrics(path) if int(row["step"]) <= trainer.global_step])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss = self._loss + outputs["loss"].detach()
        self._batches += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = float(self._loss) / max(1, self._batches)
        if trainer.world_size > 1:  # each process has the loss of its share, scaled so that the mean is the batch's
            loss = float(trainer.strategy.reduce(torch.tensor(loss, device=pl_module.device), reduce_op="mean"))
        self._loss, self._batches = 0.0, 0
        if loss != loss or abs(loss) == float("inf"):
            raise SettingError(
                "the training loss is not finite",
                where=f"epoch {trainer.current_epoch}",
                fix="lower --model.optimizer.learning_rate, or set --trainer.precision 32-true",
            )
        if not trainer.is_global_zero:
            return
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": loss,
            "seconds": round(time.monotonic() - self._started, 3),
        }
        row |= {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")}
        path = self.run_dir / "metrics.csv"
        write_metrics(path, [*read_metrics(path), row])
