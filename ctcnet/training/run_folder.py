"""The run folder: checked before any work, filled while training."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from ctcnet.errors import OutputError
from ctcnet.output import check_output, missing_folders_above, remove_empty
from ctcnet.training.classifier_module import ClassifierModule
from ctcnet.training.learning_curve import plot_learning_curve

CONFIG = "config.yaml"
LAST = "last.ckpt"


def check_run_dir(run_dir: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that a run can write into `run_dir`.

    Raises:
        OutputError: it holds something already and the run neither resumes nor may overwrite, it is to be overwritten
            and is no run folder, or it cannot be written to.
    """
    check_output(run_dir, overwrite=True)
    if run_dir.exists() and not run_dir.is_dir():
        raise OutputError("is a file", where=run_dir, expected="a folder for the run")
    if resume or not run_dir.exists() or not any(run_dir.iterdir()):
        return
    if not overwrite:
        raise OutputError(
            "holds something already",
            where=run_dir,
            fix="choose another --run_dir, resume with --ckpt_path last, or pass --overwrite",
        )
    if not (run_dir / CONFIG).is_file():
        raise OutputError(
            f"is not the folder of an earlier run (no {CONFIG}), and is not overwritten",
            where=run_dir,
            fix="choose another --run_dir",
        )


class RunFolder(Callback):
    """Prepares the run folder when training starts and draws the learning curve when it ends.

    Args:
        run_dir: the folder.
        config_text: the run's whole configuration as YAML.
        resume: whether the run goes on with an earlier one in the same folder, whose files are kept.
    """

    def __init__(self, run_dir: Path, config_text: str, resume: bool) -> None:
        self.run_dir, self.config_text, self.resume = run_dir.resolve(), config_text, resume
        self._replaced = self.run_dir.with_name(f".{self.run_dir.name}.{os.getpid()}.replaced")
        self._filling = False
        self._made_above: list[Path] = []

    def on_fit_start(self, trainer: Trainer, pl_module: ClassifierModule) -> None:  # pyright: ignore
        if trainer.is_global_zero:
            try:
                if self.run_dir.exists() and not self.resume:
                    os.replace(self.run_dir, self._replaced)
                self._filling = not self.resume or not self.run_dir.exists()
                self._made_above = missing_folders_above(self.run_dir)
                self.run_dir.mkdir(parents=True, exist_ok=True)
                (self.run_dir / CONFIG).write_text(self.config_text, encoding="utf-8")
                pl_module.data.write_splits(self.run_dir / "splits.csv")
            except OSError as cause:
                raise OutputError(f"cannot be written ({cause.strerror})", where=self.run_dir) from cause
        trainer.strategy.barrier("run folder is ready")

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if self._filling and (self.run_dir / LAST).is_file():  # from here on the new run can be resumed
            self._filling = False
            shutil.rmtree(self._replaced, ignore_errors=True)

    def on_exception(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Leave nothing of a run that fails before its first checkpoint, and put back one that it was to replace."""
        if self._filling and not (self.run_dir / LAST).is_file():
            shutil.rmtree(self.run_dir, ignore_errors=True)
            if self._replaced.is_dir():
                os.replace(self._replaced, self.run_dir)
            remove_empty(self._made_above)
        elif self._filling:
            shutil.rmtree(self._replaced, ignore_errors=True)

    def on_train_end(self, trainer: Trainer, pl_module: ClassifierModule) -> None:  # pyright: ignore
        if trainer.is_global_zero:
            shutil.rmtree(self._replaced, ignore_errors=True)
            plot_learning_curve(self.run_dir / "metrics.csv", self.run_dir / "learning_curve.png")
