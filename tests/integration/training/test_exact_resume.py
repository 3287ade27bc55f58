"""A run that is killed and resumed ends with the weights of a run that was never interrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ctcnet.training.checkpoint import ATYPICALITY_KEY
from ctcnet.training.command_line import main
from ctcnet.training.metrics_table import read_metrics

pytestmark = pytest.mark.integration

FEW_CROPS = ("--model.uncertainty.atypical_share", "0.1")  # a share that 36 validation crops are enough for
EPOCHS = ("--trainer.max_epochs", "5", "--selection.save_every_n_steps", "2", *FEW_CROPS)


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights, and the atypicality of a finished model, which is fitted to what they say."""
    content = torch.load(path, weights_only=True)
    assert (ATYPICALITY_KEY in content) == (path.name == "best.ckpt")
    return {**content["state_dict"], **content.get(ATYPICALITY_KEY, {})}


def assert_bit_equal(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    unequal = [name for name in a if not torch.equal(a[name], b[name])]
    assert not unequal


@pytest.fixture(scope="module")
def uninterrupted(fit_options: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    torch.set_num_threads(1)
    assert main(fit_options(run_dir, *EPOCHS)) == 0
    return run_dir


@pytest.mark.parametrize(("workers", "saves_before_kill"), [(0, 8), (2, 5)])
def test_killed_in_mid_epoch(
    workers: int,
    saves_before_kill: int,
    fit_options: Callable,
    start: Callable,
    uninterrupted: Path,
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "killed"
    options = fit_options(run_dir, *EPOCHS, "--data.num_workers", str(workers))
    process = start(options)
    saves, seen, deadline = 0, 0.0, time.monotonic() + 120
    last = run_dir / "last.ckpt"
    while saves < saves_before_kill and process.poll() is None and time.monotonic() < deadline:
        if last.exists() and last.stat().st_mtime_ns != seen:
            saves, seen = saves + 1, last.stat().st_mtime_ns
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    saved = torch.load(last, weights_only=True)
    assert 0 < saved["global_step"] < 5 * 6

    assert main([*options, "--ckpt_path", "last"]) == 0
    assert_bit_equal(run_dir / "last.ckpt", uninterrupted / "last.ckpt")
    assert_bit_equal(run_dir / "best.ckpt", uninterrupted / "best.ckpt")
    resumed, whole = read_metrics(run_dir / "metrics.csv"), read_metrics(uninterrupted / "metrics.csv")
    assert [row["epoch"] for row in resumed] == [row["epoch"] for row in whole]
    for row, other in zip(resumed, whole, strict=True):
        del row["seconds"], other["seconds"]
        assert row == other


def test_every_saved_step_resumes_alike(
    fit_options: Callable, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped right after the save at step 10 of 6 an epoch, and after the save at the end of an epoch."""
    from ctcnet.training.model_selection import ModelSelection

    save = ModelSelection._save_last
    for stop_at in (10, 18):
        run_dir = tmp_path / f"stopped_{stop_at}"

        def save_and_stop(self: ModelSelection, trainer, stop_at: int = stop_at) -> None:
            save(self, trainer)
            if trainer.global_step == stop_at:
                raise RuntimeError("stopped")

        monkeypatch.setattr(ModelSelection, "_save_last", save_and_stop)
        with pytest.raises(RuntimeError, match="stopped"):
            main(fit_options(run_dir, *EPOCHS))
        monkeypatch.setattr(ModelSelection, "_save_last", save)
        assert torch.load(run_dir / "last.ckpt", weights_only=True)["global_step"] == stop_at
        assert main(fit_options(run_dir, *EPOCHS, "--ckpt_path", "last")) == 0
        assert_bit_equal(run_dir / "last.ckpt", uninterrupted / "last.ckpt")
