"""Scalars for TensorBoard in the run folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter


class TensorBoardLog(Callback):
    """Writes loss and learning rate every few steps, and validation figures every epoch, into RUN_DIR/tensorboard.

    Lightning's own logger makes its folder before the data are checked; this one only when training starts.
    """

    def __init__(self) -> None:
        self.run_dir = Path()
        self._writer: SummaryWriter | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            purge = trainer.global_step + 1 if trainer.global_step else None
            self._writer = SummaryWriter(str(self.run_dir / "tensorboard"), purge_step=purge)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._writer is not None and trainer.global_step % trainer.log_every_n_steps == 0:  # pyright: ignore
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self._writer.add_scalar("train_loss", float(outputs["loss"]), trainer.global_step)
            self._writer.add_scalar("learning_rate", rate, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._writer is not None:
            for name, value in trainer.callback_metrics.items():
                if name.startswith("val_"):
                    self._writer.add_scalar(name, float(value), trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        with suppress(OSError):  # a full disk; what stopped the run is told
            self._close()  # before the folder goes: a thread would write into it

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
