"""The command line of training: `fit`, `validate` and `test`, each option in YAML or as an argument."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ActionYesNo
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.errors import CtcnetError, ModelFileError, OutputError, SettingError, memory_errors
from ctcnet.process_end import INTERRUPTED, TERMINATED
from ctcnet.resources import find_config
from ctcnet.settings_file import read_yaml_mapping
from ctcnet.training.checkpoint import CARD_KEY, card_of, read_checkpoint
from ctcnet.training.classifier_module import ClassifierModule
from ctcnet.training.metrics_table import MetricsTable
from ctcnet.training.model_selection import ModelSelection
from ctcnet.training.run_folder import RunFolder, check_run_dir
from ctcnet.training.starting_weights import find_start
from ctcnet.training.teacher import find_teacher
from ctcnet.training.tensorboard_log import TensorBoardLog

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": 30,
    "enable_checkpointing": False,  # ModelSelection keeps the checkpoints
    "enable_model_summary": False,
    "use_distributed_sampler": False,  # the loader divides batches over processes
    "num_sanity_val_steps": 0,
    "logger": False,  # MetricsTable and TensorBoardLog write the logs
    "log_every_n_steps": 10,
}


def _plain_seed(seed: bool | int) -> int:
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed_everything must be a whole number, 0 to 2**32 - 1, not {seed}")
    return seed


class TrainingCommandLine(LightningCLI):
    """LightningCLI whose runs live in one folder, resume exactly and never fall for a typo."""

    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(
            ClassifierModule,
            CropDataModule,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            parser_kwargs={name: {"allow_abbrev": False} for name in self.subcommands()} | {"allow_abbrev": False},
            args=args,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {"model", "dataloaders", "datamodule", "weights_only"}
        return {
            "fit": skipped - {"dataloaders"} | {"train_dataloaders", "val_dataloaders"},
            "validate": skipped,
            "test": skipped,
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run_dir", type=str | None, default=None, help="Folder of the run.")
        parser.add_argument(
            "--overwrite", action=ActionYesNo, nargs="?", default=False, help="Replace an earlier run in the folder."
        )
        parser.add_lightning_class_args(ModelSelection, "selection")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_plain_seed)

    def _parse_ckpt_path(self) -> None:
        """Nothing: checkpoints hold no settings of this command line."""

    def before_instantiate_classes(self) -> None:
        options = self.options
        if options.run_dir is None:
            raise OutputError("no run folder is given", fix="pass --run_dir FOLDER")
        self.run_dir = Path(options.run_dir)
        self.resume = options.ckpt_path is not None and self.subcommand == "fit"
        if options.ckpt_path is None and self.subcommand != "fit":
            options.ckpt_path = "best"
        if options.ckpt_path in ("best", "last"):
            options.ckpt_path = str(self.run_dir / f"{options.ckpt_path}.ckpt")
        if options.ckpt_path is not None:
            _check_checkpoint(options.ckpt_path, resume=self.resume)
        start_from = options.model.start_from
        if self.subcommand == "fit" and not self.resume and start_from is not None:
            find_start(start_from)
        if self.subcommand == "fit" and options.model.teacher.model is not None:
            find_teacher(options.model.teacher.model, self.run_dir)
        if self.subcommand == "fit" and rank_zero_only.rank == 0:
            check_run_dir(self.run_dir, resume=self.resume, overwrite=options.overwrite)
        trainer = options.trainer
        _check_devices(trainer.accelerator, trainer.devices)
        if trainer.precision is None:
            uses_gpu = trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
            trainer.precision = "bf16-mixed" if uses_gpu else "32-true"

    @property
    def options(self) -> Any:
        """Options of the subcommand at hand."""
        return self.config[str(self.subcommand)]

    @property
    def chosen(self) -> Any:
        """The same, with objects made of them."""
        return self.config_init[str(self.subcommand)]

    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        settings = yaml.safe_load(self._config_text())
        for name in ("run_dir", "ckpt_path", "overwrite", "config"):
            settings.pop(name, None)
        settings["data"]["manifest"] = Path(settings["data"]["manifest"]).name
        for holder, name in ((settings["model"], "start_from"), (settings["model"]["teacher"], "model")):
            if holder[name] is not None:
                holder[name] = Path(holder[name]).name
        self.model.training_settings = settings
        self.model.resuming = self.resume

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        options = self.options.trainer
        callbacks: list[Callback] = list(self.chosen.trainer.callbacks or [])
        if options.enable_progress_bar is not False:
            callbacks.append(TQDMProgressBar(leave=False))
        if self.subcommand == "fit":
            selection: ModelSelection = self.chosen.selection
            table, tensorboard = MetricsTable(), TensorBoardLog()
            selection.run_dir = table.run_dir = tensorboard.run_dir = self.run_dir
            folder = RunFolder(self.run_dir, self._config_text(), self.resume)
            callbacks += [table, tensorboard, folder, selection]  # of a failed run the folder is removed last
        settings = {**self.chosen.trainer, **kwargs, "callbacks": callbacks}
        try:
            return self._instantiate_trainer(settings, [])
        except (ValueError, TypeError) as cause:
            raise SettingError(
                f"Lightning refuses the settings ({cause})", where="trainer", fix="correct them"
            ) from cause

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        return {**super()._prepare_subcommand_kwargs(subcommand), "weights_only": True}

    def _config_text(self) -> str:
        """The options as YAML, without what follows from others, what to resume from and what may be overwritten.

        Whoever hands the file to another command must neither resume from nor replace anything unasked.
        """
        options = self.options.clone()
        options.overwrite, options.ckpt_path = False, None
        return self._parser(self.subcommand).dump(options, skip_none=False)


def _check_devices(accelerator: Any, devices: Any) -> None:
    """Raise SettingError where training on the CPU would start more processes than there are cores."""
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    count, cores = (int(devices) if str(devices).isdigit() else 1), os.cpu_count() or 1
    if on_cpu and count > max(cores, 2):
        raise SettingError(
            "asks for more processes than the machine has cores",
            where="trainer.devices",
            expected=f"at most {max(cores, 2)}",
            found=str(devices),
        )


def _with_config_paths(args: list[str]) -> list[str]:
    """The arguments with the names of shipped configurations (`--config five_class`) turned into paths.

    Raises:
        SettingError: no such file or name, or a file is no YAML mapping or names a key twice.
    """
    found = list(args)
    for place, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name not in ("-c", "--config") or not (equals or place + 1 < len(args)):
            continue
        path = find_config("", value if equals else args[place + 1])
        read_yaml_mapping(path)
        found[place if equals else place + 1] = f"{name}={path}" if equals else str(path)
    return found


def _check_checkpoint(path: str, *, resume: bool) -> None:
    """Raise ModelFileError where a checkpoint cannot be loaded, or holds no state to resume from."""
    content = read_checkpoint(path)
    if CARD_KEY in content:
        card_of(content, path)
    if "pytorch-lightning_version" not in content:
        raise ModelFileError("is no checkpoint of ctcnet", where=path, expected="an entry 'pytorch-lightning_version'")
    if resume and "optimizer_states" not in content:
        raise ModelFileError(
            "is a finished model without the state of its training",
            where=path,
            fix="resume with --ckpt_path last, or train again in another --run_dir",
        )


def _quieten() -> None:
    """Silence notices of Lightning that say nothing about the run at hand."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in (
        ".*smaller than the logging interval.*",
        ".*does not have many workers.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*LightningCLI's args parameter is intended to run from within Python.*",
        ".*module.s. in eval mode at the start of training.*",  # the moving average is one
        ".*You're resuming from a checkpoint that ended before the epoch ended.*",
    ):
        warnings.filterwarnings("ignore", message)


def run(args: list[str] | None = None) -> TrainingCommandLine:
    """Parse and run; `args` as on the command line, None for the process's own.

    Raises:
        CtcnetError: an input, a setting or an output was wrong.
        SystemExit: with 2, after a message, where the command line itself was wrong.
    """
    _quieten()
    return TrainingCommandLine(_with_config_paths(sys.argv[1:] if args is None else args))


def main(args: list[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 after a message where an input, a setting or an output was wrong, or memory
    too small; 130 or 143 where it was interrupted or asked to end (SIGTERM)."""
    try:
        run(args)
    except (CtcnetError, MisconfigurationException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except memory_errors() as cause:
        print(f"error: there is not enough memory ({cause}); give a smaller --data.batch_size", file=sys.stderr)
        return 2
    except SystemExit as stop:  # Lightning turns Ctrl-C and SIGTERM into one
        terminated = isinstance(stop, SIGTERMException)
        if not (terminated or isinstance(stop.__context__, KeyboardInterrupt)):
            raise
        print("interrupted; a run with a last.ckpt goes on with --ckpt_path last", file=sys.stderr)
        return TERMINATED if terminated else INTERRUPTED
    return 0
