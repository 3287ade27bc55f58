"""Training that starts from a shipped model (an untrained stand-in) or from a checkpoint."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from ctcnet.model_card import ModelCard
from ctcnet.training.checkpoint import card_of, read_checkpoint
from ctcnet.training.command_line import main
from ctcnet.training.shipped_weights import WITH_PLATELET, read_shipped

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shipped_models")]

START = ("--model.start_from", "ctcnet-s")
STILL = ("--trainer.max_epochs", "1", "--model.optimizer.learning_rate", "1e-12", "--model.optimizer.weight_decay", "0")


def _model(run_dir: Path) -> tuple[dict[str, torch.Tensor], ModelCard]:
    content = read_checkpoint(run_dir / "best.ckpt")
    return content["state_dict"], card_of(content, run_dir)


def _last(run_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("normalization", "mode", "held"), [("fixed", "cartridge", WITH_PLATELET), ("per_crop", "per_crop", "per_crop")]
)
def test_fit_starts_from_the_weights_of_its_mode_and_panel(
    fit_options, tmp_path, shipped_models, capfd, normalization, mode, held
):
    options = fit_options(tmp_path / "run", *START, *STILL, "--data.normalization", normalization)
    options += ["--data.pixel_size_um", "0.8"]
    assert main(options) == 0
    shipped = read_shipped(shipped_models / "ctcnet-s")
    state, card = _model(tmp_path / "run")
    for name in ("backbone.stem.filters.nucleus", "backbone.statistics.hidden.weight"):
        torch.testing.assert_close(state[name], shipped.weights[held][name], atol=1e-6, rtol=0)
    printed = " ".join(capfd.readouterr().err.split())
    assert "Notice: the classes are not those of 'ctcnet-s'" in printed
    assert f"'ctcnet-s' was made for 0.64 um per px, 32 px, levels '{mode}', and this run has 0.8 um per px" in printed
    assert f"levels '{normalization}': training adapts it" in printed
    assert card.training_settings["model"]["start_from"] == "ctcnet-s"
    assert card.training_settings["started_from"] == {"model": "ctcnet-s", "sha256": shipped.card.weights_sha256}
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["model"]["start_from"], config["model"]["freeze"]) == ("ctcnet-s", "none")


def test_fit_takes_the_shipped_model_and_says_so_where_a_folder_has_its_name(
    fit_options, tmp_path, shipped_models, monkeypatch, capfd
):
    options = fit_options(tmp_path / "run", *START, *STILL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctcnet-s").mkdir()
    assert main(options) == 0
    printed = " ".join(capfd.readouterr().err.split())
    assert printed.count("'ctcnet-s' means the shipped model; what has that name here is ./ctcnet-s") == 1
    started_from = _model(tmp_path / "run")[1].training_settings["started_from"]
    assert started_from["sha256"] == read_shipped(shipped_models / "ctcnet-s").card.weights_sha256


@pytest.mark.parametrize(
    ("freeze", "kept", "learns"),
    [
        ("stem", ("backbone.stem.", "backbone.stem_norm."), ("backbone.stages.", "backbone.statistics.")),
        ("backbone", ("backbone.",), ("head.",)),
    ],
)
def test_frozen_parts_stay_bit_by_bit(fit_options, tmp_path, shipped_models, freeze, kept, learns):
    run_dir = tmp_path / "run"
    assert main(fit_options(run_dir, *START, "--model.freeze", freeze, "--trainer.max_epochs", "1")) == 0
    weights, last = read_shipped(shipped_models / "ctcnet-s").weights[WITH_PLATELET], _last(run_dir)
    for part in ("network.", "average."):
        found = {name.removeprefix(part): value for name, value in last.items() if name.startswith(part)}
        for name, value in found.items():
            if name.startswith(kept) and name in weights:
                assert torch.equal(value, weights[name]), name
        assert any(not torch.equal(v, weights[n]) for n, v in found.items() if n.startswith(learns) and n in weights)


def test_stopped_run_resumes_exactly_without_its_start(
    fit_options: Callable, tmp_path: Path, shipped_models: Path, stop_fit: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctcnet.training import shipped_weights

    more = (*START, "--model.freeze", "stem", "--trainer.max_epochs", "2", "--selection.save_every_n_steps", "2")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(fit_options(whole, *more)) == 0
    stop_fit(fit_options(stopped, *more))
    monkeypatch.setattr(shipped_weights, "resource_dir", lambda kind: tmp_path)
    assert main(fit_options(stopped, *more, "--ckpt_path", "last")) == 0
    first, second = _last(whole), _last(stopped)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert _model(whole)[1] == _model(stopped)[1]


def test_checkpoint_is_a_start_with_its_last_layer(fit_options, tmp_path, capfd):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(fit_options(first, "--trainer.max_epochs", "1")) == 0
    capfd.readouterr()
    assert main(fit_options(second, "--model.start_from", str(first), *STILL)) == 0
    assert "Notice: the classes" not in capfd.readouterr().err
    before, after = _model(first)[0], _model(second)
    torch.testing.assert_close(after[0]["head.weight"], before["head.weight"], atol=1e-6, rtol=0)
    assert after[1].training_settings["model"]["start_from"] == "first"
    assert main(["validate", *fit_options(second, "--model.start_from", "gone.ckpt")[1:]]) == 0


def test_overlay_names_a_shipped_model_and_takes_enough_steps_of_few_crops(fit_options, tmp_path):
    options = fit_options(tmp_path / "run", "--config", "overlays/fine_tune", "--trainer.max_epochs", "1")
    assert main(options) == 0
    assert _model(tmp_path / "run")[1].training_settings["model"]["start_from"] == "ctcnet-s"
    with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
        assert max(int(row["step"]) for row in csv.DictReader(stream)) >= 25


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model.start_from", "ctcnet-x"), ("'ctcnet-x'", "ctcnet-s", ".ckpt")),
        (("--model.start_from", "nowhere/best.ckpt"), ("cannot start from it", "ctcnet-s")),
        ((*START, "--model.backbone", "resnet18"), ("another kind", "compact")),
        (("--model.freeze", "stem"), ("random weights would be frozen",)),
    ],
)
def test_bad_start_is_one_error(fit_options, tmp_path, capfd, options, words):
    assert main(fit_options(tmp_path / "run", *options)) == 2
    message = capfd.readouterr().err
    assert message.count("error: ") == 1
    assert all(word in message for word in words)
    assert not (tmp_path / "run").exists()


def test_class_of_one_example_warns_what_cannot_be_measured(task, fit_options, tmp_path, capfd):
    with (task / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    of_debris = [row for row in rows if row["label"] == "debris"]
    kept = [row for row in rows if row["label"] != "debris"] + of_debris[:1]
    for row in kept:
        row["path"] = str(task / row["path"])
        row["split"] = "val" if row["group"] in ("g5", "g6") else "train"
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)
    options = fit_options(tmp_path / "run", *START, "--data.manifest", str(manifest), "--trainer.max_epochs", "1")
    assert main(options) == 0
    printed = " ".join(capfd.readouterr().err.split())
    assert "Warning: class 'debris' has one example" in printed
    assert "neither its recall, precision and F1 nor its calibration can be measured" in printed
