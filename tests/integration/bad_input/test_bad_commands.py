"""Outputs that cannot be, options that make no sense: one clear error, nothing half-written."""

from __future__ import annotations

import pytest
from bad_input_commands import (
    cut_crop,
    refused,
    words,
)

from ctcnet.cli.main import main

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

OUTPUTS = {"pack": "store", "fit": "run", "evaluate": "e", "classify": "t.csv", "export": "m.onnx"}


@pytest.mark.parametrize("verb", OUTPUTS)
def test_output_that_exists_is_kept(verb, data, model, capsys):
    out = data.parent / "out" / OUTPUTS[verb]
    mine = out if out.suffix else out / "mine"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    assert "overwrite" in refused(words(verb, data, model), capsys)
    if not out.suffix:  # somebody's folder is not overwritten at all
        overwrite = ["--overwrite", "true"] if verb == "fit" else ["--overwrite"]
        assert "not overwritten" in refused([*words(verb, data, model), *overwrite], capsys)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("verb", OUTPUTS)
def test_output_that_cannot_be_written(verb, data, model, capsys):
    (data.parent / "out").rmdir()
    (data.parent / "out").write_text("a file")
    assert "cannot be" in refused(words(verb, data, model), capsys)


def test_output_never_replaces_its_input(data, model, capsys):
    before = (data / "manifest.csv").read_bytes()
    arguments = words("classify", data, model)
    arguments[arguments.index("-o") + 1] = str(data / "manifest.csv")
    assert "input" in refused([*arguments, "--overwrite"], capsys)
    assert "input" in refused(
        [*words("check", data, model), "--json", str(data / "manifest.csv"), "--overwrite"], capsys
    )
    assert (data / "manifest.csv").read_bytes() == before


def test_run_that_fails_puts_the_earlier_run_back(data, model, capsys):
    run = data.parent / "out" / "run"
    assert main(words("fit", data, model)) == 0
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    cut_crop(data)
    refused([*words("fit", data, model), "--overwrite", "true"], capsys)
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_run_that_fails_leaves_none_of_the_folders_made_for_it(data, model, capsys):
    cut_crop(data)
    out = data.parent / "out"
    (out / "mine").mkdir()
    refused([*words("fit", data, model), "--run_dir", str(out / "mine" / "a" / "b")], capsys)
    assert list(out.rglob("*")) == [out / "mine"]


def test_run_that_goes_on_elsewhere_and_fails_leaves_no_folder(data, model, capsys):
    out = data.parent / "out"
    assert main(words("fit", data, model)) == 0
    cut_crop(data)
    resumed = ["--run_dir", str(out / "new" / "run"), "--ckpt_path", str(out / "run" / "last.ckpt")]
    refused([*words("fit", data, model), *resumed, "--trainer.max_epochs", "9"], capsys)
    assert [path.name for path in out.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "option",
    [
        ("--trainer.max_epoch", "3"),
        ("--data.manifst", "x"),
        ("--trainer.max_epochs", "many"),
        ("--trainer.accelerator", "tpu9"),
        ("--trainer.devices", "999"),
        ("--selection.patience_epochs", "0"),
        ("--data.crop_size_px", "100000"),
        ("--data.batch_size", "0"),
        ("--seed_everything", "-1"),
        ("--seed_everything", "99999999999"),
        ("--model.optimizer.learning_rate", "-1"),
    ],
)
def test_options_of_training(option, data, model, capsys):
    _fails([*words("fit", data, model), *option], capsys)
    assert not list((data.parent / "out").iterdir())


@pytest.mark.parametrize(
    "text", [b"trainer: {max_epoch: 3}", b"seed_everything: 1\nseed_everything: 2", b"\x00\xff", b"- a", b"trainer: {"]
)
def test_configuration_files(text, data, model, capsys):
    (data / "config.yaml").write_bytes(text)
    arguments = words("fit", data, model)
    _fails([*arguments[:2], "--config", str(data / "config.yaml"), *arguments[2:]], capsys)
    assert not list((data.parent / "out").iterdir())


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        ("classify", ("--threads", "100000")),
        ("classify", ("--pixel-size-um", "nan")),
        ("evaluate", ("--seed", "-1")),
        ("evaluate", ("--prior", "ctc=2,leukocyte=1")),
        ("evaluate", ("--split", "test")),
        ("pack", ("--crop-size-px", "100000")),
        ("pack", ("--model-pixel-size-um", "nan")),
    ],
)
def test_options_of_verbs(verb, option, data, model, capsys):
    refused([*words(verb, data, model), *option], capsys)
    assert not list((data.parent / "out").iterdir())


@pytest.mark.parametrize(
    "option",
    [
        ("--count", "0"),
        ("--seed", "-1"),
        ("--seed", str(2**70)),
        ("--device", "meta"),
        ("--groups", "9"),
        ("--numerical-aperture", "5"),
    ],
)
def test_options_of_simulation(option, tmp_path, capsys):
    refused(["simulate", "crops", str(tmp_path / "out"), "--count", "2", "--seed", "1", *option], capsys)
    assert not list(tmp_path.iterdir())


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Fails with code 2, be it an error of ctcnet or one of the argument parser."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    message = capsys.readouterr().err
    assert code == 2, message
    assert "error: " in message
    assert "Traceback" not in message
