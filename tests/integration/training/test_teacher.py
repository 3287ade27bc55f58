"""A network that learns from a finished one's answers beside the labels."""

from __future__ import annotations

import csv
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from ctcnet.training.checkpoint import card_of, read_checkpoint
from ctcnet.training.command_line import main, run
from ctcnet.training.metrics_table import read_metrics
from ctcnet.training.model_selection import ModelSelection
from ctcnet.training.teacher import Teacher, TeacherSettings

pytestmark = pytest.mark.integration

TAUGHT = ("--trainer.max_epochs", "2", "--selection.save_every_n_steps", "2", "--model.dropout", "0.1")


@pytest.fixture(scope="module")
def teacher(fit_options: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a finished network; sets need more crops than it has."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    torch.set_num_threads(1)
    assert main(fit_options(folder, "--model.loss.tau", "0.5", "--model.backbone", "mobilenet_v3_small")) == 0
    return folder


def _last(run_dir: Path) -> dict:
    return torch.load(run_dir / "last.ckpt", weights_only=True)


def test_targets_are_labels_and_answers_at_the_prior_of_the_loss(fit_options, teacher, tmp_path):
    options = fit_options(tmp_path / "run", *TAUGHT, "--model.teacher.model", str(teacher))
    module = run([*options, "--model.teacher.share", "0.4"]).model
    used, prior = module.teacher, torch.tensor([0.2, 0.3, 0.5])
    batch = next(iter(module.data.loader("train")))
    x = module.network_input(batch, augment=False)
    present = torch.ones(x.shape[:2], dtype=torch.bool)
    found = Teacher(TeacherSettings(str(teacher), 0.4), module.data, prior).targets(x, present, batch["target"])

    card = card_of(read_checkpoint(teacher / "best.ckpt"), teacher)
    posterior = (
        torch.softmax(used.network(x).logits / card.temperature, dim=1) * prior / torch.tensor(card.training_prior)
    )
    answers = posterior / posterior.sum(1, keepdim=True)
    torch.testing.assert_close(found, 0.6 * batch["target"] + 0.4 * answers, atol=1e-5, rtol=0)
    assert (answers.max(1).values < 0.999).any()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_run_is_taught_and_says_by_whom(fit_options, teacher, tmp_path):
    alone, taught = tmp_path / "alone", tmp_path / "taught"
    assert main(fit_options(alone, *TAUGHT)) == 0
    assert main(fit_options(taught, *TAUGHT, "--model.teacher.model", str(teacher / "best.ckpt"))) == 0
    content = read_checkpoint(taught / "best.ckpt")
    settings = card_of(content, taught).training_settings
    digest = sha256((teacher / "best.ckpt").read_bytes()).hexdigest()
    assert settings["taught_by"] == {"model": "best.ckpt", "sha256": digest}
    assert settings["model"]["teacher"] == {"model": "best.ckpt", "share": 0.5}
    assert "taught_by" not in card_of(read_checkpoint(alone / "best.ckpt"), alone).training_settings
    assert _last(taught)["state_dict"].keys() == _last(alone)["state_dict"].keys()
    losses = [[row["train_loss"] for row in read_metrics(folder / "metrics.csv")] for folder in (alone, taught)]
    assert losses[0] != losses[1]
    assert main(["validate", *fit_options(taught, "--model.teacher.model", "gone")[1:]]) == 0


def test_stopped_run_resumes_exactly_and_with_its_teacher_alone(fit_options, teacher, tmp_path, monkeypatch, capfd):
    options = (*TAUGHT, "--model.teacher.model", str(teacher))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(fit_options(whole, *options)) == 0
    save = ModelSelection._save_last

    def save_and_stop(self: ModelSelection, trainer) -> None:
        save(self, trainer)
        if trainer.global_step == 8:
            raise RuntimeError("stopped")

    monkeypatch.setattr(ModelSelection, "_save_last", save_and_stop)
    with pytest.raises(RuntimeError, match="stopped"):
        main(fit_options(stopped, *options))
    monkeypatch.setattr(ModelSelection, "_save_last", save)
    for other in ((), ("--model.teacher.model", str(whole))):
        assert main(fit_options(stopped, *TAUGHT, *other, "--ckpt_path", "last")) == 2
        assert "taught by another network" in capfd.readouterr().err
    assert main(fit_options(stopped, *options, "--ckpt_path", "last")) == 0
    first, second = _last(whole)["state_dict"], _last(stopped)["state_dict"]
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model.teacher.model", "nowhere/best.ckpt"), ("no such teacher", "nowhere/best.ckpt")),
        (("--model.teacher.share", "0"), ("cannot count so much", "above 0, at most 1")),
        (("--model.teacher.model", "TEACHER", "--data.crop_size_px", "48"), ("as the teacher was trained", "48 px")),
        (("--model.teacher.model", "TEACHER", "--data.labels", "OTHER"), ("the teacher was trained for other",)),
    ],
)
def test_bad_teacher_is_one_error(fit_options, teacher, tmp_path, capfd, options, words):
    labels = tmp_path / "labels.yaml"
    labels.write_text("name: three\nclasses: [leukocyte, ctc, debris]\n")
    stand_ins = {"TEACHER": str(teacher), "OTHER": str(labels)}
    options = [stand_ins.get(option, option) for option in options]
    assert main(fit_options(tmp_path / "run", *TAUGHT, *options)) == 2
    message = capfd.readouterr().err
    assert message.count("error: ") == 1
    assert all(word in " ".join(message.split()) for word in words), message
    assert not (tmp_path / "run").exists()


def test_teacher_that_saw_groups_of_the_test_part_is_refused(fit_options, task, tmp_path, capfd):
    with (task / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    tested = tmp_path / "tested.csv"
    parts = {"g0": "test", "g1": "val", "g2": "val"}
    with tested.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "split"])
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "path": task / row["path"], "split": parts.get(row["group"], "train")})
    options = (*TAUGHT, "--data.normalization", "per_crop")
    assert main(fit_options(tmp_path / "teacher", *options, "--data.split.test_fraction", "0")) == 0
    capfd.readouterr()
    options = (*options, "--data.manifest", str(tested), "--model.teacher.model", str(tmp_path / "teacher"))
    assert main(fit_options(tmp_path / "run", *options)) == 2
    message = capfd.readouterr().err
    assert "error: " in message
    assert "the teacher saw 1 groups of the test part" in " ".join(message.split())
    assert not (tmp_path / "run").exists()


def test_run_does_not_write_over_its_teacher(fit_options, teacher, capfd):
    before = (teacher / "best.ckpt").read_bytes()
    assert main(fit_options(teacher, *TAUGHT, "--model.teacher.model", str(teacher), "--overwrite")) == 2
    assert "would write over its own teacher" in capfd.readouterr().err
    assert (teacher / "best.ckpt").read_bytes() == before
