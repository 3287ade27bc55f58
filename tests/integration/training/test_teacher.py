"""A network that learns from a finished one's answers beside the labels."""

from __future__ import annotations

import csv
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from ctcnet.model_card import hash_group
from ctcnet.training.checkpoint import card_of, load_classifier, read_checkpoint
from ctcnet.training.command_line import main, run
from ctcnet.training.losses import ImbalanceLoss
from ctcnet.training.metrics_table import read_metrics

pytestmark = pytest.mark.integration

TAUGHT = ("--trainer.max_epochs", "2", "--selection.save_every_n_steps", "2", "--model.dropout", "0.1")


@pytest.fixture(scope="module")
def teacher(fit_options: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a finished network; sets need more crops than it has."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    torch.set_num_threads(1)
    assert main(fit_options(folder, "--model.loss.tau", "0.5", "--model.backbone", "mobilenet_v3_small")) == 0
    return folder


@pytest.fixture
def unequal(task: Path, tmp_path: Path) -> Path:
    """Manifest of the task with weights of 4, 1 and 1 for its classes."""
    with (task / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return _write(tmp_path / "unequal.csv", task, rows, weight=lambda row: 4 if row["label"] == "ctc" else 1)


def _write(path: Path, task: Path, rows: list[dict], **columns: Callable[[dict], object]) -> Path:
    """Write rows of the task's manifest with further columns."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], *columns])
        writer.writeheader()
        for row in rows:
            more = {name: value(row) for name, value in columns.items()}
            writer.writerow({**row, **more, "path": task / row["path"]})
    return path


def _last(run_dir: Path) -> dict:
    return torch.load(run_dir / "last.ckpt", weights_only=True)


def test_targets_are_labels_and_answers_at_the_prior_of_the_loss(fit_options, unequal, tmp_path, monkeypatch):
    """Classes of unequal weight, an absent channel, class weights in the loss: each must show in the targets."""
    teacher, seen, forward = tmp_path / "teacher", [], ImbalanceLoss.forward
    options = ("--data.manifest", str(unequal), *TAUGHT)
    assert main(fit_options(teacher, *options, "--model.loss.tau", "0.5")) == 0

    def watched(loss, logits, target, weight, labels=None):
        seen.append((target, labels))
        return forward(loss, logits, target, weight, labels)

    monkeypatch.setattr(ImbalanceLoss, "forward", watched)
    options = (*options, "--model.teacher.model", str(teacher), "--model.teacher.share", "0.4")
    module = run(fit_options(tmp_path / "run", *options, "--model.loss.weighting", "inverse")).model
    for target, labels in seen:
        assert torch.equal(labels, labels.round())
        assert not torch.allclose(target, labels, atol=1e-3)

    batch = next(iter(module.data.loader("train")))
    x = module.network_input(batch, augment=False)
    present = torch.ones(x.shape[:2], dtype=torch.bool)
    present[:, 2] = False
    found = module.teacher.targets(x, present, batch["target"])
    card = card_of(read_checkpoint(teacher / "best.ckpt"), teacher)
    crops, rows = module.data.crops, module.data.rows_of("train")
    prior = np.sqrt((crops.require_targets()[rows] * crops.weight[rows, None]).sum(0))  # frequency over its root
    assert prior.max() > 1.5 * prior.min()
    assert card.temperature != 1
    with torch.no_grad():
        logits = load_classifier(teacher / "best.ckpt").network(x, present).logits.numpy()
    posterior = softmax(logits / card.temperature, axis=1) * prior / np.array(card.training_prior)
    answers = posterior / posterior.sum(1, keepdims=True)
    np.testing.assert_allclose(found, 0.6 * batch["target"] + 0.4 * answers, atol=1e-5)
    assert (answers.max(1) < 0.999).any()


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


def test_stopped_run_resumes_exactly_and_with_its_teacher_alone(fit_options, teacher, tmp_path, stop_fit, capfd):
    options = (*TAUGHT, "--model.teacher.model", str(teacher))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(fit_options(whole, *options)) == 0
    stop_fit(fit_options(stopped, *options))
    for other in ((), ("--model.teacher.model", str(whole))):
        assert main(fit_options(stopped, *TAUGHT, *other, "--ckpt_path", "last")) == 2
        assert "not the one that the run began with" in capfd.readouterr().err
    assert main(fit_options(stopped, *options, "--ckpt_path", "last")) == 0
    first, second = _last(whole)["state_dict"], _last(stopped)["state_dict"]
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model.teacher.model", "nowhere/best.ckpt"), ("no such teacher", "nowhere/best.ckpt")),
        (("--model.teacher.share", "0"), ("share is out of range", "above 0, at most 1")),
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


@pytest.mark.parametrize(
    ("part_of_g0", "words"),
    [
        ("test", "the teacher saw 1 groups of the test part"),
        ("val", "groups of the validation part and was trained on"),
    ],
)
def test_teacher_of_another_split_is_refused(fit_options, task, tmp_path, capfd, part_of_g0, words):
    """In the mode 'per_crop', where no levels tell one training part from another."""
    with (task / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    parts = {"g0": part_of_g0, "g1": "val", "g2": "val"}
    divided = _write(tmp_path / "divided.csv", task, rows, split=lambda row: parts.get(row["group"], "train"))
    options = (*TAUGHT, "--data.normalization", "per_crop")
    assert main(fit_options(tmp_path / "teacher", *options, "--data.split.test_fraction", "0")) == 0
    capfd.readouterr()
    options = (*options, "--data.manifest", str(divided), "--model.teacher.model", str(tmp_path / "teacher"))
    assert main(fit_options(tmp_path / "run", *options)) == 2
    message = " ".join(capfd.readouterr().err.split())
    assert words in message
    assert "what to do: train the teacher with this run's manifest" in message
    assert not (tmp_path / "run").exists()


def test_groups_of_the_teacher_count_as_seen(fit_options, task, tmp_path):
    """A model that was taught on part of its teacher's groups has learnt from the others too."""
    with (task / "manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["group"] not in ("g0", "g1", "g2")]
    parts = {"g3": "val", "g4": "val"}
    first = _write(tmp_path / "first.csv", task, rows, split=lambda row: parts.get(row["group"], "train"))
    with (task / "manifest.csv").open(newline="") as stream:
        others = [row for row in csv.DictReader(stream) if row["group"] in ("g0", "g1", "g2")]
    second = _write(tmp_path / "second.csv", task, others, split=lambda row: "val" if row["group"] == "g0" else "train")
    options = (*TAUGHT, "--data.normalization", "per_crop")
    teacher, taught = tmp_path / "teacher", tmp_path / "taught"
    assert main(fit_options(teacher, *options, "--data.manifest", str(first))) == 0
    assert (
        main(fit_options(taught, *options, "--data.manifest", str(second), "--model.teacher.model", str(teacher))) == 0
    )
    seen = card_of(read_checkpoint(taught / "best.ckpt"), taught).training_data.group_hashes
    assert set(seen) == {hash_group(f"g{number}") for number in range(12)}


def test_run_does_not_write_over_its_teacher(fit_options, teacher, capfd):
    before = (teacher / "best.ckpt").read_bytes()
    assert main(fit_options(teacher, *TAUGHT, "--model.teacher.model", str(teacher), "--overwrite")) == 2
    assert "would write over its own teacher" in capfd.readouterr().err
    assert (teacher / "best.ckpt").read_bytes() == before
