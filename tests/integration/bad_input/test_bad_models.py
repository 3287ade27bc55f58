"""Bad checkpoints and ONNX files: one clear error, nothing half-written, through every verb that can meet it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from bad_input_commands import (
    refused,
    words,
)

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class _Code:
    def __reduce__(self):
        return Path.touch, (Path("code_has_run"),)


def _edited(**changes: object) -> Callable[[dict], object]:
    return lambda content: content["ctcnet_card"].update(changes)


BAD_CHECKPOINTS: dict[str, Callable[[dict], object]] = {
    "pickled code": lambda content: content.update(extra=_Code()),
    "no card": lambda content: content.pop("ctcnet_card"),
    "card is a list": lambda content: content.update(ctcnet_card=[1]),
    "card of another version": _edited(card_format=99),
    "card without a key": lambda content: content["ctcnet_card"].pop("temperature"),
    "size in words": _edited(crop_size_px="big"),
    "another backbone": _edited(backbone="vit"),
    "fewer classes": _edited(labels={"name": "x", "classes": ["a", "b", "c"]}),
    "no weights": lambda content: content.update(state_dict=None),
    "weights that are NaN": lambda content: next(iter(content["state_dict"].values())).fill_(torch.nan),
    "weights renamed": lambda content: content.update(
        state_dict={f"x{k}": v for k, v in content["state_dict"].items()}
    ),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_bad_checkpoint(name, data, model, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = torch.load(model / "best.ckpt", weights_only=True)
    BAD_CHECKPOINTS[name](content)
    torch.save(content, data / "best.ckpt")
    _refuse_checkpoint(data, model, capsys)
    assert not (tmp_path / "code_has_run").exists()


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_corrupt_checkpoint(content, data, model, capsys):
    whole = (model / "best.ckpt").read_bytes()
    (data / "best.ckpt").write_bytes(whole[: len(whole) // 2] if content is None else content)
    _refuse_checkpoint(data, model, capsys)


def test_checkpoint_with_a_few_other_bytes(data, model, capsys):
    """Torch loads weights without comparing their checksums: other answers, and no word of it."""
    content = bytearray((model / "best.ckpt").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(value ^ 1 for value in content[middle : middle + 100])
    (data / "best.ckpt").write_bytes(content)
    _refuse_checkpoint(data, model, capsys)


def _refuse_checkpoint(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("evaluate", "classify", "export"):
        arguments = words(verb, data, model)
        arguments[1] = str(data / "best.ckpt")
        assert "best.ckpt" in refused(arguments, capsys)
    fit = words("fit", data, model)
    refused(["train", "validate", *fit[2:10], *fit[-2:], "--ckpt_path", str(data / "best.ckpt")], capsys)
    assert not list((data.parent / "out").iterdir())


def _card(**changes: object) -> Callable[[onnx.ModelProto], None]:
    def apply(graph: onnx.ModelProto) -> None:
        for entry in graph.metadata_props:
            if entry.key == "ctcnet_card":
                entry.value = json.dumps({**json.loads(entry.value), **changes})

    return apply


BAD_ONNX: dict[str, Callable[[onnx.ModelProto], object]] = {
    "no card": lambda graph: graph.ClearField("metadata_props"),
    "more classes": _card(labels={"name": "x", "classes": ["a", "b", "c"]}, training_prior=[0.4, 0.3, 0.3]),
    "another size": _card(crop_size_px=32),
    "card is a list": lambda graph: [setattr(p, "value", "[]") for p in graph.metadata_props],
}


@pytest.mark.parametrize("name", [*BAD_ONNX, "truncated", "text", "zero bytes"])
def test_bad_onnx_file(name, data, model, capsys):
    path = data / "bad.onnx"
    whole = (model / "model.onnx").read_bytes()
    path.write_bytes({"text": b"hello", "zero bytes": b""}.get(name, whole[: len(whole) // 2]))
    if name in BAD_ONNX:
        graph = onnx.load_model_from_string(whole)
        BAD_ONNX[name](graph)
        onnx.save_model(graph, str(path))
    for verb in ("evaluate", "classify"):
        arguments = words(verb, data, model)
        arguments[1] = str(path)
        assert "bad.onnx" in refused(arguments, capsys)
        assert not list((data.parent / "out").iterdir())
