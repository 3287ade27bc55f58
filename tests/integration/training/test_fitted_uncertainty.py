"""A fitted model says what it does not know, from the checkpoint and from its ONNX file alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ctcnet.cli import main as ctcnet
from ctcnet.crops import read_crops
from ctcnet.labels import load_schema
from ctcnet.panel import load_panel
from ctcnet.runtime import OnnxPredictor, SessionSettings
from ctcnet.training.checkpoint import load_classifier
from ctcnet.training.command_line import main
from ctcnet.training.torch_predictor import TorchPredictor

pytestmark = pytest.mark.integration

BATCHES = (1, 2, 7, 64)
SIDE, FULL = 32, 4095


@pytest.fixture(scope="module")
def fit(larger_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains on the larger task into a new run folder, which it gives."""

    def run(*more: str) -> Path:
        run_dir = tmp_path_factory.mktemp("fitted") / "run"
        torch.set_num_threads(1)
        assert main(["fit", "--config", str(larger_task / "config.yaml"), "--run_dir", str(run_dir), *more]) == 0
        return run_dir

    return run


@pytest.fixture(scope="module", params=["fixed", "per_crop"])
def run_dir(request: pytest.FixtureRequest, fit: Callable[..., Path]) -> Path:
    """A run whose crops are normalised one way or the other, with its exported model.onnx."""
    run_dir = fit("--trainer.max_epochs=3", f"--data.normalization={request.param}")
    assert ctcnet(["export", str(run_dir), "-o", str(run_dir / "model.onnx")]) == 0
    return run_dir


def strange_crops(count: int) -> dict[str, np.ndarray]:
    """Crops (count, 5, SIDE, SIDE) uint16 that show no cell, by kind."""
    rng, shape = np.random.default_rng(1), (count, 5, SIDE, SIDE)
    blank = np.clip(np.rint(100 + rng.normal(0, 8, shape)), 0, FULL)
    kinds = {"blank": blank, "noise": rng.integers(0, FULL, shape), "saturated": np.full(shape, FULL)}
    return {name: pixels.astype(np.uint16) for name, pixels in kinds.items()}


def test_crops_without_a_cell_are_unassigned_from_checkpoint_and_file_alike(run_dir: Path) -> None:
    checkpoint = load_classifier(run_dir / "best.ckpt")
    exported = OnnxPredictor(run_dir / "model.onnx", SessionSettings(threads=1))
    assert exported.card == checkpoint.card
    for size in BATCHES:
        for kind, crops in strange_crops(size).items():
            expected, found = checkpoint.predict(crops), exported.predict(crops)
            assert found.unassigned.all(), kind
            assert (found.atypicality > 1).all(), kind
            np.testing.assert_array_equal(found.unassigned, expected.unassigned)
            np.testing.assert_allclose(found.atypicality, expected.atypicality, rtol=1e-3)


def test_cells_are_typical_and_answers_equal(run_dir: Path, larger_task: Path) -> None:
    checkpoint = load_classifier(run_dir / "best.ckpt")
    exported = OnnxPredictor(run_dir / "model.onnx", SessionSettings(threads=1))
    crops = read_crops(larger_task / "manifest.csv", load_panel("ctc5"), load_schema(larger_task / "labels.yaml"))
    pixels = crops.read(slice(None), 0.64, SIDE)
    expected = checkpoint.predict(pixels)
    assert (expected.atypicality > 1).mean() < 0.05
    for size in BATCHES:
        found = exported.predict(pixels[:size])
        np.testing.assert_array_equal(found.unassigned, expected.unassigned[:size])
        np.testing.assert_allclose(found.atypicality, expected.atypicality[:size], rtol=1e-3)
    plain = TorchPredictor(checkpoint.network, checkpoint.card).predict(pixels)
    np.testing.assert_array_equal(plain.probabilities, expected.probabilities)


def test_card_states_what_was_fitted_and_on_what(run_dir: Path) -> None:
    card = load_classifier(run_dir / "best.ckpt").card
    assert card.conformal is not None
    assert card.conformal.alpha == (0.1,) * 3
    assert card.conformal.calibration_crops == (40, 40, 40)
    assert card.atypicality_quantile == pytest.approx(0.99)
    assert "fitted on the 120 crops of 3 validation groups" in card.limits[-1]
    assert json.loads((run_dir / "card.json").read_text()) == card.to_dict()
    page = (run_dir / "README.md").read_text()
    assert "alpha 0.1, 0.1, 0.1" in page
    assert "as 1 % of typical crops have" in page
    assert ctcnet(["verify", str(run_dir / "model.onnx")]) == 0


def test_validate_takes_such_a_model(run_dir: Path) -> None:
    assert main(["validate", "--config", str(run_dir / "config.yaml")]) == 0


@pytest.fixture(scope="module")
def without_sets(fit: Callable[..., Path]) -> Path:
    """A run whose model has atypicality alone, which is all that leaves a crop unassigned there."""
    return fit("--trainer.max_epochs=1", "--model.uncertainty.alpha=null", "--model.unassigned_below=0")


def test_atypical_crops_are_unassigned_where_there_are_no_sets(without_sets: Path) -> None:
    assert ctcnet(["export", str(without_sets), "-o", str(without_sets / "model.onnx")]) == 0
    for predictor in (load_classifier(without_sets / "best.ckpt"), OnnxPredictor(without_sets / "model.onnx")):
        assert predictor.card.conformal is None
        answers = predictor.predict(strange_crops(7)["noise"])
        assert (answers.atypicality > 1).all()
        assert answers.unassigned.all()
    assert "largest probability below 0, or atypical" in (without_sets / "README.md").read_text()


def test_fine_tuned_model_has_a_fit_of_its_own(without_sets: Path, fit: Callable[..., Path]) -> None:
    before = load_classifier(without_sets / "best.ckpt")
    tuned = load_classifier(fit(f"--model.start_from={without_sets}", "--trainer.max_epochs=1") / "best.ckpt")
    assert tuned.card.conformal is not None
    assert tuned.atypicality is not None
    assert before.atypicality is not None
    assert not torch.equal(tuned.atypicality.embedding.means, before.atypicality.embedding.means)
