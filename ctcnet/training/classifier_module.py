"""The Lightning module: what is done to a batch in training and validation; the network is in `ctcnet.networks`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from torch import Tensor, distributed, nn

from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.data.crop_dataset import Batch
from ctcnet.data.device_augmentation import DeviceAugmentation
from ctcnet.errors import SettingError
from ctcnet.model_card_reading import card_from_dict
from ctcnet.networks import CellClassifier, build_classifier
from ctcnet.networks.bounded_relu import LIMIT, UNBOUNDED, set_limit
from ctcnet.networks.levels import InputLevels
from ctcnet.normalization import normalize
from ctcnet.training.averaging import averaged_copy, update_average
from ctcnet.training.checkpoint import CARD_KEY, check_weights
from ctcnet.training.data_match import check_data_of_model, check_division
from ctcnet.training.losses import DecisionPrior, ImbalanceLoss, LossSettings
from ctcnet.training.optimizer import OptimizerSettings, make_optimizer, make_schedule
from ctcnet.training.scarce_classes import scarce_class_warnings
from ctcnet.training.scores import validation_scores
from ctcnet.training.shipped_weights import shadow_note
from ctcnet.training.starting_weights import Freeze, StartingWeights, freeze_parts, read_start, start_network
from ctcnet.training.teacher import Teacher, TeacherSettings, check_teacher
from ctcnet.training.uncertainty_fit import UncertaintySettings

START_KEY = "ctcnet_start"
"""Entry of a checkpoint that says what the run started from."""
TEACHER_KEY = "ctcnet_teacher"
"""Entry of a checkpoint that says which network teaches the run."""
DIVISION_KEY = "ctcnet_division"
"""Entry of a checkpoint with the hash of which group is in which part."""


class Answers(NamedTuple):
    """Answers to one batch on the CPU: rows int64 (N,), logits float32 (N, K), targets float32 (N, K)."""

    rows: np.ndarray
    logits: np.ndarray
    targets: np.ndarray


class ClassifierModule(LightningModule):
    """Trains a `CellClassifier` and keeps the moving average of its weights, which is what becomes the model.

    The network is built in `setup` from the panel and the classes of the data module. Everything random in a training
    step is a function of each sample's seed.

    Args:
        backbone: name in the registry of networks.
        dropout: probability of dropping a feature of the embedding.
        loss: see `LossSettings`.
        optimizer: see `OptimizerSettings`.
        ema_decay: decay of the moving average per step, 0 to below 1; 0 makes the model the last weights.
        decision_prior: class frequencies that the model's probabilities refer to: those in training ('training'),
            equal ones ('balanced', best for macro-F1), or those that the loss implies ('as_taught').
        unassigned_below: an event is unassigned when its largest probability is below this; for models without
            conformal sets.
        uncertainty: see `UncertaintySettings`.
        activation_limit: bound of the activations of the compact network, above 0, which INT8 needs; None for no bound,
            which costs INT8 its precision. Weights that a run starts from bring their own.
        channels_last: memory layout of images.
        compile: compile the network with `torch.compile`.
        name: name on the model card.
        start_from: name of a shipped model, or path of a checkpoint or run folder (./name where it has the name of a
            shipped model), whose weights a fit starts from; None starts at random. The last layer is taken over where
            the classes are the same, in the same order.
        freeze: parts that keep the weights they start from: 'none', 'stem' (the first convolution, which knows the
            channels) or 'backbone' (everything but the last layer).
        teacher: see `TeacherSettings`.

    Attributes:
        resuming: whether a fit goes on with an earlier one, whose weights need no start.
    """

    def __init__(
        self,
        backbone: str = "compact",
        dropout: float = 0.2,
        loss: LossSettings = LossSettings(),  # noqa: B008  (frozen)
        optimizer: OptimizerSettings = OptimizerSettings(),  # noqa: B008  (frozen)
        ema_decay: float = 0.99,
        decision_prior: DecisionPrior = "training",
        unassigned_below: float = 0.5,
        uncertainty: UncertaintySettings = UncertaintySettings(),  # noqa: B008  (frozen)
        activation_limit: float | None = LIMIT,
        channels_last: bool = True,
        compile: bool = False,
        name: str = "ctcnet-model",
        start_from: str | None = None,
        freeze: Freeze = "none",
        teacher: TeacherSettings = TeacherSettings(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__()
        self.backbone, self.dropout, self.name = backbone, dropout, name
        self.loss_settings, self.optimizer_settings = loss, optimizer
        self.decision_prior: DecisionPrior = decision_prior
        self.ema_decay, self.unassigned_below, self.uncertainty = ema_decay, unassigned_below, uncertainty
        self.activation_limit = UNBOUNDED if activation_limit is None else activation_limit
        self.channels_last, self.compile_network = channels_last, compile
        self.start_from, self.resuming = start_from, False
        self.freeze_choice: Freeze = freeze
        self.started_from: dict[str, Any] | None = None
        self.teacher_settings = teacher
        self.teacher: Teacher | None = None
        self.training_settings: dict[str, Any] = {}
        self.temperature = 1.0
        self.last_answers: Answers | None = None
        self._answers: list[Answers] = []
        if not 0 <= ema_decay < 1 or not 0 <= unassigned_below <= 1:
            raise SettingError("ema_decay or unassigned_below is out of range", where="model", expected="0 to 1")
        if not 0 < self.activation_limit <= UNBOUNDED:
            raise SettingError(
                "activations cannot be bounded so",
                where="model.activation_limit",
                expected="a number above 0, or null for no bound",
                found=str(activation_limit),
            )
        if freeze != "none" and start_from is None:
            raise SettingError(
                "random weights would be frozen, and never learn",
                where="model.freeze",
                expected="none, or model.start_from beside it",
                found=freeze,
                fix="set --model.start_from to a shipped model or a checkpoint",
            )

    @property
    def data(self) -> CropDataModule:
        """The run's data module."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, CropDataModule):
            raise SettingError("training needs a CropDataModule")
        return data

    @property
    def model(self) -> CellClassifier:
        """The weights that become the model: the moving average, or the network itself where there is none."""
        return self.network if self.average is None else self.average  # pyright: ignore

    def setup(self, stage: str) -> None:
        if hasattr(self, "network"):
            return
        data = self.data
        self.uncertainty.alphas(data.schema.classes)  # refused now, not when training is over
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            network = build_classifier(self.backbone, data.panel.roles, len(data.schema.classes), self.dropout)
        set_limit(network, self.activation_limit)
        if stage == "fit":
            for warning in scarce_class_warnings(data):
                say(f"Warning: {warning}.")
            if self.start_from is not None and not self.resuming:
                self._start(network, read_start(self.start_from, data.levels.mode, data.panel.roles))
        freeze_parts(network, self.freeze_choice)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        self.network = network.to(memory_format=layout)  # pyright: ignore
        self.average: nn.Module | None = averaged_copy(self.network) if self.ema_decay > 0 else None
        if self.compile_network:
            self.network.compile()
        rows = data.rows_of("train")
        crops = data.crops.require_targets()[rows] * data.crops.weight[rows][:, None]
        self.loss = ImbalanceLoss(self.loss_settings, torch.from_numpy(crops.sum(axis=0)))
        if stage == "fit" and self.teacher_settings.model is not None:
            self.teacher = Teacher(self.teacher_settings, data, self.loss.target_prior())
        self.stated_prior = self.loss.stated_prior(self.decision_prior).numpy()
        self.logit_bias: Tensor
        self.register_buffer("logit_bias", self.loss.logit_bias(self.decision_prior))
        levels = data.levels
        self.per_crop_levels = InputLevels(levels.floor, levels.shared_scale) if levels.mode == "per_crop" else None
        settings = data.augmentation
        self.augment = DeviceAugmentation(settings, data.panel.full_scale) if settings.backend == "device" else None

    def _start(self, network: CellClassifier, start: StartingWeights) -> None:
        """Take weights over into a new network and say what could not be."""
        data = self.data
        notes = start_network(network, start, self.backbone, data.schema.classes)
        here = (data.pixel_size_um, data.crop_size_px, data.levels.mode)
        there = (start.pixel_size_um, start.crop_size_px, start.mode)
        if here != there:
            words = ["{:g} um per px, {} px, levels '{}'".format(*values) for values in (there, here)]
            adapt = "frozen parts do not adapt to that" if self.freeze_choice != "none" else "training adapts it"
            notes += (f"'{start.name}' was made for {words[0]}, and this run has {words[1]}: {adapt}",)
        shadow = shadow_note(self.start_from or "")
        for note in (shadow, *notes) if shadow else notes:
            say(f"Notice: {note}.")
        self.started_from = {"model": start.name, "sha256": start.sha256}

    @property
    def settings_on_card(self) -> dict[str, Any]:
        """The run's settings, with the hashes of the weights that it started from and of its teacher."""
        sources = {"started_from": self.started_from, "taught_by": self._taught_by}
        return self.training_settings | {name: source for name, source in sources.items() if source is not None}

    @property
    def _taught_by(self) -> dict[str, Any] | None:
        return None if self.teacher is None else self.teacher.source

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how the run divides its groups, what it started from, which a resumed one does not read again, and its
        teacher, which it does."""
        checkpoint[DIVISION_KEY] = self.data.division_sha256
        if self.started_from is not None:
            checkpoint[START_KEY] = self.started_from
        if self._taught_by is not None:
            checkpoint[TEACHER_KEY] = self._taught_by

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take a finished model (weights and card) as well as the state of an unfinished run."""
        self.started_from = checkpoint.get(START_KEY)
        if CARD_KEY not in checkpoint:
            check_weights(checkpoint["state_dict"], self.state_dict(), "checkpoint")
            check_division(checkpoint.get(DIVISION_KEY), self.data)
            if self.trainer.state.fn == TrainerFn.FITTING:
                check_teacher(checkpoint.get(TEACHER_KEY), self._taught_by)
            return
        card = card_from_dict(checkpoint[CARD_KEY])
        check_data_of_model(card, self.data, testing=self.trainer.state.fn == TrainerFn.TESTING)
        self.temperature = card.temperature
        plain = checkpoint["state_dict"]
        check_weights(plain, self.network.state_dict(), "checkpoint")
        parts = ("network",) if self.average is None else ("network", "average")
        state = {f"{part}.{key}": value for part in parts for key, value in plain.items()}
        checkpoint["state_dict"] = {**state, "logit_bias": torch.zeros_like(self.logit_bias)}

    def network_input(self, batch: Batch, *, augment: bool) -> Tensor:
        """Normalised crops float32 (N, C, H, W), augmented where asked for."""
        counts, background, scale = batch["crops"].float(), batch["background"], batch["scale"]
        with torch.no_grad(), torch.autocast(counts.device.type, enabled=False):
            if self.per_crop_levels is not None:
                background, scale = self.per_crop_levels(counts)
            if augment and self.augment is not None:
                counts = self.augment(counts, background, scale, batch["sample_seed"])
            if self.per_crop_levels is not None and augment:
                background, scale = self.per_crop_levels(counts)
            x = normalize(counts, background, scale)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return x.contiguous(memory_format=layout)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x = self.network_input(batch, augment=True)
        presence = batch["presence"] if self.data.augmentation.channel_drop > 0 else None
        logits = self.network(x, presence, batch["sample_seed"]).logits
        labels = batch["target"]
        target = labels if self.teacher is None else self.teacher.targets(x, presence, labels)
        total, weight = self.loss(logits, target, batch["weight"], labels)
        loss = total / _mean_over_processes(weight).clamp(min=1e-12)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        step = self.trainer.global_step
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            update_average(self.average, self.network, self.ema_decay, step)

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.network, self.optimizer_settings)
        per_epoch, total = self._steps()
        schedule = make_schedule(optimizer, self.optimizer_settings, per_epoch, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _steps(self) -> tuple[int, int]:
        """Optimizer steps in an epoch and in the run, from the loader's own length.

        `trainer.estimated_stepping_batches` is not used: reading it keeps the loader's state from being loaded.
        """
        trainer = self.trainer
        batches = len(self.data.loader("train"))
        limit = trainer.limit_train_batches
        if isinstance(limit, float):
            batches = max(1, int(batches * limit))
        elif limit is not None:
            batches = min(batches, limit)
        per_epoch = -(-batches // trainer.accumulate_grad_batches)
        totals = [per_epoch * trainer.max_epochs] if trainer.max_epochs and trainer.max_epochs > 0 else []
        totals += [trainer.max_steps] if trainer.max_steps > 0 else []
        if not totals:
            raise SettingError("the run has no end", expected="--trainer.max_epochs or --trainer.max_steps above 0")
        return per_epoch, min(totals)

    @torch.no_grad()
    def answer(self, batch: Batch, network: nn.Module) -> Answers:
        """Logits of a batch under `network` at the stated prior, before temperature."""
        logits = network(self.network_input(batch, augment=False)).logits.float() + self.logit_bias
        return Answers(batch["index"].cpu().numpy(), logits.cpu().numpy(), batch["target"].float().cpu().numpy())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._answers.append(self.answer(batch, self.model))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._answers.append(self.answer(batch, self.model))

    def on_validation_epoch_end(self) -> None:
        self._score("val")

    def on_test_epoch_end(self) -> None:
        self._score("test")

    def _score(self, part: str) -> None:
        answers, self._answers = gather_answers(self._answers), []
        self.last_answers = answers
        scores = validation_scores(_softmax(answers.logits / self.temperature), answers.targets)
        for name, value in scores.items():
            self.log(f"{part}_{name}", value, prog_bar=name == "macro_f1", rank_zero_only=False, sync_dist=False)


def gather_answers(parts: list[Answers], across_processes: bool = True) -> Answers:
    """Join the answers of all batches (and processes), each row once, in the order of the rows."""
    if across_processes and distributed.is_available() and distributed.is_initialized():
        gathered: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(gathered, parts)
        parts = [answers for theirs in gathered for answers in theirs]
    joined = Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    _, first = np.unique(joined.rows, return_index=True)
    return Answers(*(column[first] for column in joined))


def _softmax(logits: np.ndarray) -> np.ndarray:
    return torch.softmax(torch.from_numpy(logits), dim=1).numpy()


def _mean_over_processes(weight: Tensor) -> Tensor:
    """Mean over processes of each one's sum of weights.

    Gradients are averaged over processes, so that a loss divided by this mean has the gradient of one process that
    holds the whole batch.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return weight
    total = weight.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


@rank_zero_only
def say(message: str) -> None:
    """Print a sentence for the user, in one process only."""
    Console(stderr=True).print(message, style="yellow", highlight=False, markup=False)
