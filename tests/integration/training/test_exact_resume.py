"""A run that is killed and resumed ends with the weights of a run that was never interrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ctcnet.training.checkpoint import ATYPICALITY_KEY, load_classifier
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
    fit_options: Callable, uninterrupted: Path, tmp_path: Path, stop_fit: Callable
) -> None:
    """Stopped right after the save at step 10 of 6 an epoch, and after the save at the end of an epoch."""
    for stop_at in (10, 18):
        run_dir = tmp_path / f"stopped_{stop_at}"
        stop_fit(fit_options(run_dir, *EPOCHS), stop_at)
        assert torch.load(run_dir / "last.ckpt", weights_only=True)["global_step"] == stop_at
        assert main(fit_options(run_dir, *EPOCHS, "--ckpt_path", "last")) == 0
        assert_bit_equal(run_dir / "last.ckpt", uninterrupted / "last.ckpt")


def test_groups_that_are_divided_otherwise_are_not_gone_on_with(
    fit_options: Callable, task: Path, tmp_path: Path, stop_fit: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups that were learnt from would else be tested."""
    run_dir, last = tmp_path / "run", ("--ckpt_path", "last")
    stop_fit(fit_options(run_dir, *EPOCHS))
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    head, *rows = (task / "manifest.csv").read_text().replace(",g11,", ",g12,").splitlines()
    more = tmp_path / "other_groups.csv"
    more.write_text("\n".join([head, *(f"{task}/{row}" for row in rows)]) + "\n")
    for changed in (("--data.split.seed", "5"), ("--data.manifest", str(more))):
        assert main(fit_options(run_dir, *EPOCHS, *changed, *last)) == 2
        assert "not divided into training, validation and test as when the run began" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before
    assert main(["test", *fit_options(run_dir, "--data.split.seed", "5", *last)[1:]]) == 2
    assert main(fit_options(run_dir, *EPOCHS, *last)) == 0


def test_run_that_is_asked_to_end_says_so_and_its_model_too(
    fit_options: Callable, start: Callable, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "ended"
    process = start(fit_options(run_dir, "--trainer.max_epochs", "500"))
    deadline = time.monotonic() + 120
    while not (run_dir / "last.ckpt").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"goes on with --ckpt_path last" in error
    assert any("not finished" in limit for limit in load_classifier(run_dir / "best.ckpt").card.limits)
    teach = ("--model.teacher.model", str(run_dir))
    assert main(fit_options(tmp_path / "taught", *teach)) == 2
    assert "the teacher's training was not finished" in capsys.readouterr().err
