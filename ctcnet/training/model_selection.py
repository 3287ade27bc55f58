"""Which weights become the model, when training stops, and the checkpoints that are kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, Trainer

from ctcnet.errors import SettingError
from ctcnet.networks import CellClassifier
from ctcnet.training.card_of_run import make_card, training_data_card
from ctcnet.training.checkpoint import card_of, network_from, read_checkpoint, whole_checkpoint, write_model
from ctcnet.training.classifier_module import ClassifierModule, say
from ctcnet.training.scores import validation_scores
from ctcnet.training.temperature import UNFINISHED, Temperature, fit_temperature, log_loss, prior_weights
from ctcnet.training.uncertainty_fit import Uncertainty, ValidationAnswers, fit_uncertainty, not_fitted
from ctcnet.uncertainty import typical_features

MONITOR = "val_mean_average_precision"


class Calibration(NamedTuple):
    """What validation data say of finished weights: temperature, figures for the card, and what they do not know."""

    temperature: Temperature
    validation: Mapping[str, Any] = MappingProxyType({})
    uncertainty: Uncertainty = Uncertainty()


class ModelSelection(Callback):
    """Keeps `best.ckpt` and `last.ckpt`, stops early, and calibrates the model at the end of training.

    Args:
        rule: 'best' keeps the weights with the highest mean average precision on validation data, the lower log loss
            where two are even; 'last' those after the last step, for validation parts too small to choose by.
        patience_epochs: stop after so many validations without a better one; None never stops early.
        save_every_n_steps: write `last.ckpt` after so many steps too, not only after each epoch; None is off.
    """

    def __init__(
        self,
        rule: Literal["best", "last"] = "best",
        patience_epochs: int | None = None,
        save_every_n_steps: int | None = None,
    ) -> None:
        if rule == "last" and patience_epochs is not None:
            raise SettingError("early stopping needs the rule 'best'", where="selection.patience_epochs")
        if any(value is not None and value < 1 for value in (patience_epochs, save_every_n_steps)):
            raise SettingError("patience_epochs and save_every_n_steps are 1 or more, or null", where="selection")
        self.rule, self.patience_epochs, self.save_every_n_steps = rule, patience_epochs, save_every_n_steps
        self.run_dir = Path()
        self.best_score = self.best_loss = math.nan
        self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_loss": self.best_loss, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_loss = float(state_dict["best_score"]), float(state_dict["best_loss"])
        self.waited = int(state_dict["waited"])

    def on_fit_start(self, trainer: Trainer, pl_module: ClassifierModule) -> None:  # pyright: ignore
        if self.rule == "best" and not len(pl_module.data.rows_of("val")):
            raise SettingError(
                "there are no validation crops to choose the best weights by",
                where="selection.rule",
                fix="set --selection.rule last, or keep groups for validation",
            )
        teacher = pl_module.teacher
        also_seen = () if teacher is None else teacher.group_hashes
        self.trained_on = training_data_card(pl_module.data, also_seen) if trainer.is_global_zero else None

    def on_validation_end(self, trainer: Trainer, pl_module: ClassifierModule) -> None:  # pyright: ignore
        if trainer.sanity_checking or trainer.state.fn != "fit" or self.rule == "last":
            return
        score = float(trainer.callback_metrics[MONITOR])
        loss = float(trainer.callback_metrics["val_log_loss"])
        if math.isnan(self.best_score) or (score, -loss) > (self.best_score, -self.best_loss):
            self.best_score, self.best_loss, self.waited = score, loss, 0
            self._write_best(trainer, pl_module, _biased(pl_module), Calibration(UNFINISHED))
            return
        self.waited += 1
        if self.patience_epochs is not None and self.waited >= self.patience_epochs:
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        every = self.save_every_n_steps
        ends_epoch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if every is not None and trainer.global_step % every == 0 and not ends_epoch:
            self._save_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: ClassifierModule) -> None:  # pyright: ignore
        self._save_last(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.run_dir / ".last.ckpt.part")  # takes part in the gathering, writes nothing
            return
        with whole_checkpoint(self.run_dir / "last.ckpt") as part:
            trainer.save_checkpoint(part)

    def on_train_end(self, trainer: Trainer, pl_module: ClassifierModule) -> None:  # pyright: ignore
        self._finish(trainer, pl_module)
        trainer.strategy.barrier("model is finished")

    @rank_zero_only
    def _finish(self, trainer: Trainer, module: ClassifierModule) -> None:
        """Calibrate the chosen weights on the whole validation part and write the model and its card."""
        path = self.run_dir / "best.ckpt"
        if self.rule == "best" and path.is_file():
            content = read_checkpoint(path)
            network = network_from(content, card_of(content, path), path)
        else:
            network = _biased(module)
        self._write_best(trainer, module, network, _calibrate(module, network), finish=True)

    @rank_zero_only
    def _write_best(
        self,
        trainer: Trainer,
        module: ClassifierModule,
        network: CellClassifier,
        calibration: Calibration,
        finish: bool = False,
    ) -> None:
        assert self.trained_on is not None
        temperature, validation, uncertainty = calibration
        card = make_card(module, self.trained_on, temperature, validation, uncertainty)
        write_model(
            self.run_dir / "best.ckpt",
            network,
            card,
            trainer.current_epoch,
            trainer.global_step,
            atypicality=uncertainty.atypicality,
        )
        if finish:
            card.write(self.run_dir)
            for note in uncertainty.notes:
                say(f"Notice: {note}")


def _biased(module: ClassifierModule) -> CellClassifier:
    """Copy of the module's model with the bias to the stated prior inside its last layer."""
    network = copy.deepcopy(module.model).requires_grad_(False).eval()
    network.head.bias.add_(module.logit_bias)
    return network


def _calibrate(module: ClassifierModule, network: CellClassifier) -> Calibration:
    """Fit temperature and uncertainty of finished weights and measure them on validation data, in float32.

    The bias to the stated prior stands in the network's last layer, whose logits are later divided by the temperature;
    it is scaled here so that the quotient holds it whole.
    """
    if not len(module.data.rows_of("val")):
        notes = not_fitted(module.uncertainty, "there are no validation crops")
        return Calibration(Temperature(1.0, "Probabilities are not calibrated."), {}, Uncertainty(notes=notes))
    answers = _validation_answers(module, network.to(module.device).eval())
    logits, bias, targets = answers.features.logits, answers.bias, answers.targets
    temperature = fit_temperature(logits, bias, targets, answers.prior)
    with torch.no_grad():
        network.head.bias.add_((temperature.value - 1) * module.logit_bias)
    probabilities = torch.softmax(torch.from_numpy(logits / temperature.value + bias), dim=1).numpy()
    figures: dict[str, Any] = {name: round(v, 5) for name, v in validation_scores(probabilities, targets).items()}
    weight = prior_weights(targets, answers.prior)
    for name, value in (("before", 1.0), ("after", temperature.value)):
        figures[f"log_loss_{name}_temperature"] = round(log_loss(logits, bias, targets, value, weight), 5)
    figures |= {"crops": len(targets), "groups": len(set(answers.group))}
    return Calibration(temperature, figures, fit_uncertainty(answers, module.uncertainty))


def _validation_answers(module: ClassifierModule, network: CellClassifier) -> ValidationAnswers:
    """Answers of finished weights to the whole validation part, in the order of its rows."""
    data, bias = module.data, module.logit_bias.cpu().numpy().astype(np.float64)
    batches = (
        {name: value.to(module.device) for name, value in batch.items()}
        for batch in data.loader("val", all_processes=False)
    )
    features = typical_features(network, (module.network_input(batch, augment=False) for batch in batches))
    rows = data.rows_of("val")
    return ValidationAnswers(
        features._replace(logits=features.logits - bias),
        bias,
        module.stated_prior,
        data.crops.require_targets()[rows],
        data.crops.group[rows],
        data.schema.classes,
    )
