"""Which weights become the model, when training stops, and the checkpoints that are kept."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, Trainer

from ctcnet.errors import SettingError
from ctcnet.networks import CellClassifier
from ctcnet.training.card_of_run import make_card, training_data_card
from ctcnet.training.checkpoint import card_of, network_from, read_checkpoint, whole_checkpoint, write_model
from ctcnet.training.classifier_module import ClassifierModule, gather_answers
from ctcnet.training.scores import validation_scores
from ctcnet.training.temperature import Temperature, fit_temperature, log_loss, prior_weights

MONITOR = "val_mean_average_precision"


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
        self.trained_on = training_data_card(pl_module.data) if trainer.is_global_zero else None

    def on_validation_end(self, trainer: Trainer, pl_module: ClassifierModule) -> None:  # pyright: ignore
        if trainer.sanity_checking or trainer.state.fn != "fit" or self.rule == "last":
            return
        score = float(trainer.callback_metrics[MONITOR])
        loss = float(trainer.callback_metrics["val_log_loss"])
        if math.isnan(self.best_score) or (score, -loss) > (self.best_score, -self.best_loss):
            self.best_score, self.best_loss, self.waited = score, loss, 0
            self._write_best(trainer, pl_module, _biased(pl_module), Temperature(1.0, None))
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
        self._write_best(trainer, module, network, Temperature(1.0, "Probabilities are not calibrated."), finish=True)

    @rank_zero_only
    def _write_best(
        self,
        trainer: Trainer,
        module: ClassifierModule,
        network: CellClassifier,
        temperature: Temperature,
        finish: bool = False,
    ) -> None:
        assert self.trained_on is not None
        validation: dict[str, Any] = {}
        if finish and len(module.data.rows_of("val")):
            temperature, validation = _calibrate(module, network)
        card = make_card(module, self.trained_on, temperature, validation)
        write_model(self.run_dir / "best.ckpt", network, card, trainer.current_epoch, trainer.global_step)
        if finish:
            card.write(self.run_dir)


def _biased(module: ClassifierModule) -> CellClassifier:
    """Copy of the module's model with the bias to the stated prior inside its last layer."""
    network = copy.deepcopy(module.model).requires_grad_(False).eval()
    network.head.bias.add_(module.logit_bias)
    return network


@torch.no_grad()
def _calibrate(module: ClassifierModule, network: CellClassifier) -> tuple[Temperature, dict[str, Any]]:
    """Fit the temperature of finished weights and measure them on validation data, in float32.

    The bias to the stated prior stands in the network's last layer, whose logits are later divided by the temperature;
    it is scaled here so that the quotient holds it whole.
    """
    network = network.to(module.device).eval()
    bias = module.logit_bias.cpu().numpy().astype("float64")
    parts = []
    for batch in module.data.loader("val", all_processes=False):
        moved = {name: value.to(module.device) for name, value in batch.items()}
        answers = module.answer(moved, network)
        parts.append(answers._replace(logits=answers.logits - 2 * bias))  # one in the last layer, one from `answer`
    rows, logits, targets = gather_answers(parts, across_processes=False)
    temperature = fit_temperature(logits, bias, targets, module.stated_prior)
    network.head.bias.add_((temperature.value - 1) * module.logit_bias)
    probabilities = torch.softmax(torch.from_numpy(logits / temperature.value + bias), dim=1).numpy()
    figures: dict[str, Any] = {name: round(v, 5) for name, v in validation_scores(probabilities, targets).items()}
    weight = prior_weights(targets, module.stated_prior)
    for name, value in (("before", 1.0), ("after", temperature.value)):
        figures[f"log_loss_{name}_temperature"] = round(log_loss(logits, bias, targets, value, weight), 5)
    return temperature, {**figures, "crops": len(rows)}
