"""Two CPU processes give the weights of one at the same global batch, with dropout and augmentation on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ctcnet.training.checkpoint import load_classifier
from ctcnet.training.command_line import main
from ctcnet.training.metrics_table import read_metrics

pytestmark = pytest.mark.integration


# Training magnifies rounding from step to step, the faster the higher the rate: a full rate needs float64 to compare.
# Adam divides rounding noise by epsilon: with 1e-8, noise alone moves weights by the whole rate.
@pytest.mark.parametrize("precision", ["--model.optimizer.learning_rate=1e-4", "--trainer.precision=64-true"])
def test_two_processes_equal_one(precision: str, fit_options: Callable, start: Callable, tmp_path: Path) -> None:
    # uneven shares
    options = ("--trainer.max_epochs=2", "--data.batch_size=15", "--model.optimizer.epsilon=1e-3", precision)
    options += ("--model.uncertainty.atypical_share=0.1",)
    alone, together = tmp_path / "alone", tmp_path / "together"
    process = start(fit_options(together, *options, "--trainer.devices", "2", "--trainer.strategy", "ddp"))
    assert main(fit_options(alone, *options)) == 0
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()[-3000:]
    for name in ("last.ckpt", "best.ckpt"):
        one = torch.load(alone / name, weights_only=True)["state_dict"]
        two = torch.load(together / name, weights_only=True)["state_dict"]
        assert one.keys() == two.keys()
        differences = {key: float((one[key].double() - two[key].double()).abs().max()) for key in one}
        worst = max(differences, key=differences.__getitem__)
        assert differences[worst] <= 1e-5, (name, worst, differences[worst])
    limits = [load_classifier(run / "best.ckpt").atypicality.embedding.limit for run in (alone, together)]
    assert float(limits[0]) == pytest.approx(float(limits[1]), rel=1e-2)
    losses = [[float(row["train_loss"]) for row in read_metrics(run / "metrics.csv")] for run in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
