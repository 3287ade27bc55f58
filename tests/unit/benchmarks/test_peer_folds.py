"""Answers pooled over folds: in one order whatever the folds', figures against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import peer_folds
import pytest
from peer_folds import FoldRuns, Pooled
from sklearn.metrics import f1_score

from ctcnet.labels import LabelSchema
from ctcnet.training.cross_validation import OutOfFold

pytestmark = pytest.mark.unit


def _part(rows: np.ndarray, truth: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "path": np.array([f"{row:03d}" for row in rows]),
        "group": np.array([f"g{row % 7}" for row in rows]),
        "truth": truth[rows],
        "probabilities": probabilities[rows],
        "classes": np.array(["a", "b", "c"]),
    }


def test_figures_do_not_depend_on_the_order_of_the_folds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 90)
    probabilities = rng.dirichlet(np.ones(3), 90) + 0.5 * np.eye(3)[truth]
    folds = np.array_split(rng.permutation(90), 3)
    seeds = [[_part(rows, truth, p) for rows in folds] for p in (probabilities, 1 - probabilities)]

    found = Pooled.of_parts(seeds)
    turned = Pooled.of_parts([list(reversed(parts)) for parts in seeds])

    wanted = [f1_score(truth, p.argmax(axis=1), average="macro") for p in (probabilities, 1 - probabilities)]
    assert found.figures()["macro_f1"] == pytest.approx(wanted)
    assert turned.interval("macro_f1") == found.interval("macro_f1")
    assert found.less(turned).startswith("+0.000 (+0.000 to +0.000)")


def test_taught_peer_learns_from_the_network_of_its_fold_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, trained = np.random.default_rng(0), []

    def run_folds(config: Path, overrides: dict, folds: list[int], out: Path):
        trained.append(
            (overrides["model.backbone"], overrides["seed_everything"], overrides.get("model.teacher.model"))
        )
        targets = np.eye(3)[rng.integers(0, 3, 9)]
        rows = np.array([f"{row}" for row in range(9)])
        schema = LabelSchema("three", ("a", "b", "c"))
        return OutOfFold(schema, rows, rows, rows, targets, rng.dirichlet(np.ones(3), 9))

    monkeypatch.setattr(peer_folds, "run_folds", run_folds)
    runs = FoldRuns(tmp_path / "c.yaml", tmp_path / "m.csv", "5", tmp_path, {})
    runs.part("compact_taught_by_resnet18", 2, 1)
    runs.part("resnet18", 2, 1)
    checkpoint = tmp_path / "runs" / "resnet18_seed1_fold2" / "fold_2" / "best.ckpt"
    assert trained == [("resnet18", 1, None), ("compact", 1, checkpoint)]
