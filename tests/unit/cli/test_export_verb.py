import pytest
import torch

from ctcnet.cli import main

pytestmark = pytest.mark.unit


def _fails(capsys, *words) -> str:
    assert main(["export", *map(str, words)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    return message


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": {}}, path)
    return path


def test_checkpoint_without_a_card_is_refused(checkpoint, tmp_path, capsys):
    assert "no model card" in _fails(capsys, checkpoint, "-o", tmp_path / "m.onnx")


def test_truncated_checkpoint_is_refused(checkpoint, tmp_path, capsys):
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert "best.ckpt" in _fails(capsys, checkpoint, "-o", tmp_path / "m.onnx")


def test_pickled_code_is_not_run(tmp_path, capsys):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": torch.nn.Linear(1, 1)}, path)
    assert "weights and plain data" in _fails(capsys, path, "-o", tmp_path / "m.onnx")


def test_onnx_file_is_no_checkpoint(write_linear_model, tmp_path, capsys):
    assert "no checkpoint" in _fails(capsys, write_linear_model(), "-o", tmp_path / "m2.onnx")


def test_output_is_checked_before_the_checkpoint_is_read(checkpoint, tmp_path, capsys):
    (tmp_path / "m.onnx").write_text("mine")
    assert "exists already" in _fails(capsys, checkpoint, "-o", tmp_path / "m.onnx")
    assert "ends in .onnx" in _fails(capsys, checkpoint, "-o", tmp_path / "m.pt")
    assert "cannot be written" in _fails(capsys, checkpoint, "-o", checkpoint / "m.onnx")
    (tmp_path / "other.README.md").mkdir()
    assert "is a folder" in _fails(capsys, checkpoint, "-o", tmp_path / "other.onnx", "--overwrite")


@pytest.mark.parametrize("option", [("--pixel-size-um", "0.6"), ("--platform", "celltracks")])
def test_options_of_the_frame_graph_need_frame(checkpoint, tmp_path, capsys, option):
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "m.onnx"), *option]) == 2
    assert "add --frame" in capsys.readouterr().err


def test_frame_graph_takes_raw_counts_alone(checkpoint, tmp_path, capsys):
    words = ["export", str(checkpoint), "-o", str(tmp_path / "m.onnx"), "--frame", "--input-dtype", "float32"]
    assert main(words) == 2
    assert "takes raw uint16 frames" in capsys.readouterr().err


def test_frame_graph_has_one_opset(checkpoint, tmp_path, capsys):
    assert "at opset 18" in _fails(capsys, checkpoint, "-o", tmp_path / "m.onnx", "--frame", "--opset", "17")
