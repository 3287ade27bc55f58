"""INT8 and half precision through the command line, from a checkpoint and simulated crops."""

from pathlib import Path

import numpy as np
import pytest
from untrained_checkpoint import write_untrained_checkpoint

from ctcnet.cli import main
from ctcnet.crops import read_crops
from ctcnet.labels import load_schema
from ctcnet.panel import load_panel
from ctcnet.runtime import FramePredictor, OnnxPredictor, SessionSettings, classify_crops

pytestmark = pytest.mark.integration

SIDE_PX = 32


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "crops"
    words = ["--count", "360", "--groups", "9", "--seed", "0", "--crop-size-px", str(SIDE_PX)]
    assert main(["simulate", "crops", str(out), *words]) == 0
    return out / "manifest.csv"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_untrained_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt", SIDE_PX)


def test_int8_and_half_precision_decide_as_float32(checkpoint, manifest, tmp_path, capsys):
    files = {name: tmp_path / f"{name}.onnx" for name in ("float32", "int8", "fp16")}
    assert main(["export", str(checkpoint), "-o", str(files["float32"])]) == 0
    capsys.readouterr()
    assert main(["export", str(checkpoint), "-o", str(files["int8"]), "--int8", str(manifest)]) == 0
    printed = capsys.readouterr().out
    assert "int8 beside float32 on 240 crops of 6 groups held out from the calibration (120 crops of 3" in printed
    assert "recall of ctc_platelet_cluster" in printed
    assert "speed on this CPU" in printed
    assert "in float32 stayed: backbone.convolutions.0.0, statistics" in printed
    assert main(["export", str(checkpoint), "-o", str(files["fp16"]), "--fp16"]) == 0
    assert "2000 random crops, without labels" in capsys.readouterr().out
    crops = read_crops(manifest, load_panel("ctc5"), load_schema("five_class"))
    models = {name: OnnxPredictor(path, SessionSettings(threads=1)) for name, path in files.items()}
    answers = {name: classify_crops(model, crops)[0].probabilities for name, model in models.items()}
    for name in ("int8", "fp16"):
        assert models[name].card.precision == name
        difference = np.abs(answers[name] - answers["float32"])
        assert difference.max() > 0
        assert np.quantile(difference, 0.9) < 0.01
    assert files["int8"].stat().st_size < 0.8 * files["float32"].stat().st_size
    assert '"precision": "int8"' in (tmp_path / "int8.card.json").read_text()
    assert "int8 convolutions" in (tmp_path / "int8.README.md").read_text()


def test_frame_graph_in_int8_is_written_and_verified(checkpoint, manifest, tmp_path, capsys):
    file = tmp_path / "frame.onnx"
    words = ["--frame", "--platform", "celltracks", "--int8", str(manifest)]
    assert main(["export", str(checkpoint), "-o", str(file), *words]) == 0
    printed = capsys.readouterr().out
    assert "parity with the scan: all" in printed
    assert "int8 beside float32 on 240 crops of 6 groups held out from the calibration (120 crops of 3" in printed
    assert main(["verify", str(file)]) == 0
    assert "pass" in capsys.readouterr().out
    assert FramePredictor(file).card.float_layers == ("backbone.convolutions.0.0",)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--int8", "nowhere.csv"], "no such file or folder"),
        (["--int8", "{manifest}", "--fp16"], "exclude each other"),
        (["--keep-float", "head"], "needs --int8 or --fp16"),
        (["--int8", "simulated"], "shipped models"),
        (["--int8", "{few}"], "too few crops"),
        (["--int8", "{empty}"], "holds no images"),
        (["--int8", "{manifest}", "--keep-float", "head"], "no layer of this name"),
        (["--int8", "{one_group}"], "groups"),
        (["--int8", "{store}"], "channels"),
        (["--frame", "--pixel-size-um", "0.64", "--int8", "nowhere.csv"], "no such file or folder"),
        (["--frame", "--pixel-size-um", "0.64", "--int8", "{manifest}", "--fp16"], "exclude each other"),
        (["--frame", "--pixel-size-um", "0.64", "--keep-float", "head"], "needs --int8 or --fp16"),
        (["--frame", "--pixel-size-um", "0.64", "--int8", "{few}"], "too few crops"),
        (
            ["--frame", "--pixel-size-um", "0.64", "--int8", "{manifest}", "--keep-float", "head"],
            "no layer of this name",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(checkpoint, manifest, tmp_path, capsys, options, expected):
    lines = manifest.read_text().splitlines()
    places = {name: manifest.parent / f"{name}.csv" for name in ("few", "one_group")}
    places["few"].write_text("\n".join(lines[:50]) + "\n")
    column = lines[0].split(",").index("group")
    rows = [line.split(",") for line in lines[1:]]
    same = [",".join([*row[:column], "one", *row[column + 1 :]]) for row in rows]
    places["one_group"].write_text("\n".join([lines[0], *same]) + "\n")
    places |= {"manifest": manifest, "empty": tmp_path / "empty", "store": tmp_path / "store"}
    places["empty"].mkdir()
    if "{store}" in options:
        smaller = tmp_path / "crops"
        words = ["--count", "300", "--groups", "6", "--seed", "1", "--panel", "sarcoma", "--crop-size-px", str(SIDE_PX)]
        assert main(["simulate", "crops", str(smaller), *words]) == 0
        packed = ["pack", str(smaller / "manifest.csv"), "--panel", "sarcoma", "--labels", "five_class"]
        assert main([*packed, "-o", str(places["store"])]) == 0
    capsys.readouterr()
    given = [option.format(**places) for option in options]
    out = tmp_path / "out"
    assert main(["export", str(checkpoint), "-o", str(out / "m.onnx"), *given]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") or "\nerror: " in message
    assert expected in message
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize("frame", [(), ("--frame", "--pixel-size-um", "0.64")])
def test_an_unknown_layer_is_refused_before_the_crops_are_read(checkpoint, tmp_path, monkeypatch, capsys, frame):
    def read(*_):
        raise AssertionError("crops were read")

    monkeypatch.setattr("ctcnet.export.reference_crops.read_reference_crops", read)
    words = ["export", str(checkpoint), "-o", str(tmp_path / "m.onnx"), "--int8", str(tmp_path), *frame]
    assert main([*words, "--keep-float", "head"]) == 2
    assert "no layer of this name" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="crops were read"):
        main([*words, "--keep-float", "backbone.convolutions.2.0"])
