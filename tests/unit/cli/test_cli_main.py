import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ctcnet
from ctcnet.__main__ import run
from ctcnet.cli import classify, main
from ctcnet.cli.main import build_parser
from ctcnet.errors import SettingError

pytestmark = pytest.mark.unit

_VERBS = ("simulate", "check", "pack", "train", "evaluate", "export", "classify")


def _exits(words) -> object:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


def test_version(capsys):
    assert _exits(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"ctcnet {ctcnet.__version__}"


@pytest.mark.parametrize("words", [[verb] for verb in _VERBS] + [["simulate", "crops"]])
def test_help_has_an_example(words, capsys):
    assert _exits([*words, "--help"]) == 0
    assert f"example: ctcnet {words[0]}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["clasify"],
        ["simulate"],
        ["classify", "m.onnx", "crops", "-o", "t.csv", "--overwrit"],
        ["classify", "m.onnx", "crops", "-o", "t.csv", "--batch", "3"],
        ["export", "m.ckpt", "-o", "m.onnx", "--over"],
        ["simulate", "crops", "out", "--count", "5", "--see", "1"],
    ],
)
def test_typos_and_abbreviations_are_errors(words, capsys):
    assert _exits(words) == 2
    assert "usage: ctcnet" in capsys.readouterr().err


_WORDS = ["classify", "m.onnx", "crops", "-o", "t.csv"]


def test_train_hands_its_options_on():
    args = build_parser().parse_args(["train", "fit", "--config", "a.yaml", "--help"])
    assert (args.subcommand, args.options) == ("fit", ["--config", "a.yaml", "--help"])


def _raise(error):
    def run(args):
        raise error

    return run


def test_own_errors_become_a_message_and_code_2(monkeypatch, capsys):
    monkeypatch.setattr(classify, "run", _raise(SettingError("is wrong", where="here", fix="mend it")))
    assert main(_WORDS) == 2
    assert capsys.readouterr().err == "error: here: is wrong\n  what to do: mend it\n"


def test_an_empty_argument_is_not_taken_for_the_folder_one_is_in(capsys):
    assert main(["classify", "m.onnx", "", "-o", "t.csv"]) == 2
    assert "after m.onnx: an argument is empty" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_too_little_memory_is_one_line(kind, monkeypatch, capsys):
    monkeypatch.setattr(classify, "run", _raise(kind("Unable to allocate 900 TiB")))
    assert main(_WORDS) == 2
    assert capsys.readouterr().err == "error: there is not enough memory (Unable to allocate 900 TiB)\n"


def test_interruption_gives_130(monkeypatch, capsys):
    monkeypatch.setattr(classify, "run", _raise(KeyboardInterrupt()))
    assert main(_WORDS) == 130
    assert "interrupted" in capsys.readouterr().err


def test_interruption_while_the_command_is_loaded_is_no_traceback(capsys, monkeypatch):
    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "ctcnet.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "ctcnet.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert run() == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_traceback():
    unread, written = os.pipe()
    os.close(unread)
    model = Path(__file__).parents[3] / "models" / "ctcnet-s" / "model.onnx"
    words = [sys.executable, "-m", "ctcnet", "card", str(model)]
    done = subprocess.run(words, stdout=written, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(written)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_disk_that_is_full_where_the_output_goes_is_one_error():
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "ctcnet", "card", "ctcnet-s"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: what is printed could not be written (No space left on device)\n")
    assert "Traceback" not in done.stderr


def test_an_error_of_a_file_is_not_taken_for_one_of_the_output(monkeypatch):
    def read_wrongly():
        raise FileNotFoundError(2, "No such file or directory", "card.json")

    monkeypatch.setattr("ctcnet.cli.main", read_wrongly)
    with pytest.raises(FileNotFoundError):
        run()


def test_module_runs_as_the_command():
    words = [sys.executable, "-m", "ctcnet", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == f"ctcnet {ctcnet.__version__}"


_BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "lightning", "torchvision", "albumentations", "scipy", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from ctcnet.cli import main
"""


def _without_extras(code: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", _BLOCKED + code]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_onnx_file_needs_no_extra(write_linear_model, crop_folder, tmp_path):
    words = ["classify", write_linear_model(), crop_folder, "-o", tmp_path / "t.parquet", "--threads", "1"]
    words += ["--pixel-size-um", "0.5"]
    done = _without_extras(f"sys.exit(main({list(map(str, words))!r}))")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.parquet").is_file()
    assert "warning: 5 of 5" in done.stderr


def test_verbs_that_need_an_extra_name_it(tmp_path):
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"")
    verbs = [
        ["export", str(checkpoint), "-o", str(tmp_path / "m.onnx")],
        ["classify", str(checkpoint), str(tmp_path), "-o", str(tmp_path / "t.csv")],
        ["evaluate", str(checkpoint), str(tmp_path), "-o", str(tmp_path / "out")],
        ["simulate", "crops", str(tmp_path / "sim"), "--count", "5", "--seed", "1"],
        ["spillover", "--panel", "ctc5", f"CK={tmp_path / 'ck.tif'}", "-o", str(tmp_path / "s.yaml")],
    ]
    done = _without_extras(f"print([main(words) for words in {verbs!r}])")
    assert done.stdout.strip() == "[2, 2, 2, 2, 2]", done.stderr
    assert done.stderr.count('pip install "ctcnet[train]"') == 4
    assert done.stderr.count('pip install "ctcnet[scan]"') == 1
    assert list(tmp_path.iterdir()) == [checkpoint]
