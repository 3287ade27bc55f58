"""The command line end to end: what a run leaves behind, equal and different seeds, and refusals."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ctcnet.crops import read_crops
from ctcnet.errors import ModelFileError
from ctcnet.labels import load_schema
from ctcnet.networks.bounded_relu import UNBOUNDED
from ctcnet.panel import load_panel
from ctcnet.training.checkpoint import load_classifier
from ctcnet.training.classifier_module import ClassifierModule
from ctcnet.training.command_line import main
from ctcnet.training.cross_validation import run_folds
from ctcnet.training.metrics_table import read_metrics

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def run_dir(fit_options: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("fitted") / "run"
    torch.set_num_threads(1)
    assert main(fit_options(run_dir, "--trainer.max_epochs=25", "--model.loss.tau=1")) == 0
    return run_dir


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "best.ckpt", weights_only=True)["state_dict"]


def test_run_folder_is_complete(run_dir: Path) -> None:
    names = {path.name for path in run_dir.iterdir()}
    assert names == {
        *("best.ckpt", "last.ckpt", "config.yaml", "metrics.csv", "splits.csv"),
        *("learning_curve.png", "tensorboard", "card.json", "README.md"),
    }
    assert len(read_metrics(run_dir / "metrics.csv")) == 25
    assert any((run_dir / "tensorboard").iterdir())
    lines = (run_dir / "splits.csv").read_text().splitlines()
    assert lines[0] == "group,split"
    assert len(lines) == 13


def test_predictor_classifies_what_was_learnt(run_dir: Path, task: Path) -> None:
    predictor = load_classifier(run_dir / "best.ckpt")
    card = predictor.card
    assert card.training_data.crops == 108
    assert card.training_prior == pytest.approx((1 / 3,) * 3)
    assert 0.1 <= card.temperature <= 10
    crops = read_crops(task / "manifest.csv", load_panel("ctc5"), load_schema(task / "labels.yaml"))
    pixels = crops.read(slice(None), 0.64, 32)
    answers = predictor.predict(pixels)
    assert answers.probabilities.shape == (144, 3)
    assert np.allclose(answers.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (answers.probabilities.argmax(axis=1) == crops.labels).mean() > 0.9
    assert (answers.unassigned == (answers.probabilities.max(axis=1) < 0.5)).all()
    assert np.isnan(answers.atypicality).all()
    stated = predictor.predict(pixels, np.full(5, np.nan), np.full(5, np.nan))
    assert (stated.probabilities == answers.probabilities).all()
    brighter = predictor.predict(pixels, scale=np.array(card.normalization.scale) * 3)
    assert not np.allclose(brighter.probabilities, answers.probabilities, atol=0.01)


def test_card_says_why_36_validation_crops_are_too_few(run_dir: Path) -> None:
    card = load_classifier(run_dir / "best.ckpt").card
    assert card.validation["crops"] == 36
    assert (card.conformal, card.atypicality_quantile) == (None, None)
    assert [limit.partition(":")[0] for limit in card.limits[-2:]] == ["No conformal sets", "No atypicality"]
    assert "found 36; needed 99 or more" in (run_dir / "README.md").read_text()


def test_without_validation_crops_the_card_says_what_is_not_fitted(fit_options: Callable, tmp_path: Path) -> None:
    options = ("--trainer.max_epochs=1", "--selection.rule=last", "--data.split.val_fraction=0")
    assert main(fit_options(tmp_path / "run", *options)) == 0
    limits = load_classifier(tmp_path / "run" / "best.ckpt").card.limits
    assert limits[-1] == "No conformal sets and no atypicality: there are no validation crops."


def test_validate_gives_the_figures_of_the_card(
    run_dir: Path, task: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    config = str(run_dir / "config.yaml")
    capsys.readouterr()
    assert main(["validate", "--config", config]) == 0
    shown = capsys.readouterr().out
    card = load_classifier(run_dir / "best.ckpt").card
    line = next(line for line in shown.splitlines() if "val_log_loss" in line)
    assert float(line.split()[3]) == pytest.approx(card.validation["log_loss"], abs=1e-4)
    assert main(["validate", "--config", config, "--run_dir", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("validate", "--data.normalization=per_crop"), "levels 'per_crop'"),
        (("validate", "--data.pixel_size_um=0.5"), "0.5 um per pixel"),
        (("validate", "--data.split.leave_out=batch=b0"), "other levels"),
        (("validate", "--data.panel=OTHER_ROLES.yaml"), "CK (leukocyte)"),
        (("validate", "--data.panel=OTHER_BITS.yaml"), "16 bit"),
        (("test",), "no crops to test on"),
        (("test", "--data.split.leave_out=batch=b0", "--data.normalization=fixed"), "other levels"),
    ],
)
def test_model_is_not_judged_on_other_data(
    arguments: tuple[str, ...], message: str, run_dir: Path, tmp_path: Path, capsys
) -> None:
    panel = Path("configs/panels/ctc5.yaml").read_text()
    swapped = panel.replace("role: epithelial", "role: x").replace("role: leukocyte", "role: epithelial")
    (tmp_path / "OTHER_ROLES.yaml").write_text(swapped.replace("role: x", "role: leukocyte"))
    (tmp_path / "OTHER_BITS.yaml").write_text(panel.replace("bit_depth: 12", "bit_depth: 16"))
    verb, *options = (word.replace("OTHER", f"{tmp_path}/OTHER") for word in arguments)
    assert main([verb, "--config", str(run_dir / "config.yaml"), *options]) == 2
    assert message in capsys.readouterr().err


def test_groups_seen_in_training_are_no_test(fit_options: Callable, tmp_path: Path, capsys) -> None:
    options = ("--trainer.max_epochs=1", "--data.normalization=per_crop", "--data.split.test_fraction=0.25")
    assert main(fit_options(tmp_path / "run", *options)) == 0
    config = str(tmp_path / "run" / "config.yaml")
    assert main(["test", "--config", config]) == 0
    capsys.readouterr()
    assert main(["test", "--config", config, "--data.split.seed=5"]) == 2
    assert "groups of the test part" in capsys.readouterr().err


def test_equal_seeds_give_equal_weights(fit_options: Callable, tmp_path: Path) -> None:
    short = ("--trainer.max_epochs=1", "--data.augmentation.backend=albumentations")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert main(fit_options(tmp_path / name, *short, f"--seed_everything={seed}")) == 0
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])


@pytest.mark.parametrize(("setting", "limit"), [("2.5", 2.5), ("null", UNBOUNDED)])
def test_bound_of_activations_is_part_of_the_model(
    setting: str, limit: float, fit_options: Callable, tmp_path: Path
) -> None:
    more = (f"--model.activation_limit={setting}", "--trainer.max_epochs=1")
    assert main(fit_options(tmp_path / "run", *more)) == 0
    limits = [float(value) for name, value in weights(tmp_path / "run").items() if name.endswith(".limit")]
    assert limits == pytest.approx([limit] * 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trainer.max_epoch=1",), "max_epoch"),
        (("--model.activation_limit=0",), "activation_limit"),
        (("--model.uncertainty.alpha=1",), "above 0 and below 1"),
        (("--model.uncertainty.alpha={ctc: 0.1, leukocyte: 0.1, debri: 0.1}",), "ctc, leukocyte, debris"),
        (("--model.uncertainty.atypical=0.1",), "atypical"),
        (("--data.man=x.csv",), "data.man"),
        (("--model.backbone=resnet19",), "resnet18"),
        (("--data.manifest=nowhere.csv",), "nowhere.csv"),
        (("--seed_everything=true",), "seed_everything"),
        (("--data.split.leave_out=batch=zz",), "b0, b1, b2"),
        (("--data.normalization=cartridge",), "background_<channel>"),
        (("--ckpt_path=last",), "last.ckpt"),
        (("--data.augmentation.affine=2",), "affine"),
        (("--trainer.accelerator=cuda", "--trainer.devices=9"), "error"),
    ],
)
def test_refusals(
    arguments: tuple[str, ...], message: str, fit_options: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    try:
        code = main(fit_options(tmp_path / "run", *arguments))
    except SystemExit as stop:  # the parser's own
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_too_little_memory_is_one_line(
    kind: type[Exception], fit_options: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def full(*_: object) -> None:
        raise kind("CUDA out of memory")

    monkeypatch.setattr(ClassifierModule, "training_step", full)
    assert main(fit_options(tmp_path / "run")) == 2
    assert "not enough memory (CUDA out of memory); give a smaller --data.batch_size" in capsys.readouterr().err
    assert not (tmp_path / "run" / "best.ckpt").exists()


def test_class_absent_from_training(task: Path, fit_options: Callable, tmp_path: Path, capsys) -> None:
    labels = tmp_path / "four.yaml"
    labels.write_text("name: four\nclasses: [ctc, leukocyte, debris, ctc_platelet_cluster]\n")
    assert main(fit_options(tmp_path / "run", f"--data.labels={labels}")) == 2
    assert "ctc_platelet_cluster" in capsys.readouterr().err


def test_existing_run_is_kept(run_dir: Path, fit_options: Callable, tmp_path: Path, capsys) -> None:
    before = (run_dir / "best.ckpt").read_bytes()
    assert main(fit_options(run_dir)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(fit_options(run_dir, f"--ckpt_path={run_dir}/best.ckpt")) == 2
    assert (run_dir / "best.ckpt").read_bytes() == before
    other = tmp_path / "letters"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    for words in (["--overwrite"], ["--overwrite=true"], ["--overwrite", "true"]):
        assert main(fit_options(other, *words)) == 2
        assert "earlier run" in capsys.readouterr().err
    assert (other / "letter.txt").exists()


def test_saved_settings_neither_overwrite_nor_resume(fit_options: Callable, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert main(fit_options(run_dir, "--trainer.max_epochs=1")) == 0
    assert main(fit_options(run_dir, "--trainer.max_epochs=2", "--ckpt_path=last")) == 0
    assert main(fit_options(run_dir, "--trainer.max_epochs=1", "--overwrite")) == 0
    saved = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert saved["overwrite"] is False
    assert saved["ckpt_path"] is None
    assert main(["fit", "--config", str(run_dir / "config.yaml")]) == 2


def test_checkpoints_that_are_refused(run_dir: Path, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"state_dict": Code()}, tmp_path / "code.ckpt")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(Code()))
    (tmp_path / "cut.ckpt").write_bytes((run_dir / "best.ckpt").read_bytes()[:2000])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    content = torch.load(run_dir / "best.ckpt", weights_only=True)
    content["state_dict"].pop("head.bias")
    torch.save(content, tmp_path / "lacking.ckpt")
    for name in ("code", "pickle", "cut", "empty", "lacking", "absent"):
        with pytest.raises(ModelFileError, match=f"{name}.ckpt"):
            load_classifier(tmp_path / f"{name}.ckpt")
    with pytest.raises(ModelFileError, match="card"):
        load_classifier(run_dir / "last.ckpt")


def test_folds_cover_every_crop_once(task: Path, tmp_path: Path) -> None:
    overrides = {"trainer.max_epochs": 1, "selection.rule": "last"}
    pooled = run_folds(task / "config.yaml", overrides, ["batch=b0", "batch=b1", "batch=b2"], tmp_path / "folds")
    assert sorted(pooled.path) == [f"{number:03d}.tif" for number in range(144)]
    assert pooled.probabilities.shape == (144, 3)
    assert (tmp_path / "folds" / "out_of_fold.parquet").is_file()
    for batch in ("b0", "b1", "b2"):
        config = yaml.safe_load((tmp_path / "folds" / f"fold_batch_{batch}" / "config.yaml").read_text())
        assert config["data"]["split"]["leave_out"] == f"batch={batch}"
        parts = (tmp_path / "folds" / f"fold_batch_{batch}" / "splits.csv").read_text()
        numbers = [int(line.split(",")[0][1:]) for line in parts.splitlines() if line.endswith("test")]
        assert {number % 3 for number in numbers} == {int(batch[1])}
