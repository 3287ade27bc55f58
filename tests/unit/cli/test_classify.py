import json
from hashlib import sha256

import numpy as np
import onnx
import pytest
from pyarrow import csv, parquet

from ctcnet.cli import main

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore:.*crops state no background")]


def _run(*words, size_um: float | None = 0.5):
    stated = () if size_um is None else ("--pixel-size-um", str(size_um))
    return main(["classify", *map(str, words), *stated, "--threads", "1"])


def _fails(capsys, *words, size_um: float | None = 0.5) -> str:
    assert _run(*words, size_um=size_um) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") or "\nerror: " in message
    assert "Traceback" not in message
    return message


def test_folder_gives_one_row_per_crop(write_linear_model, linear_probabilities, crop_folder, tmp_path, capsys):
    model, out = write_linear_model(), tmp_path / "table.parquet"
    with pytest.warns(UserWarning, match="5 of 5 crops state no background"):
        assert _run(model, crop_folder, "-o", out) == 0
    table = parquet.read_table(out)
    names = ["ctc", "leukocyte", "ctc_neutrophil_cluster", "ctc_platelet_cluster", "debris"]
    tail = ["entropy", "unassigned", "levels", "atypicality"]
    assert table.column_names == ["path", "label", *(f"p_{name}" for name in names), *tail]
    assert table["path"].to_pylist() == [f"a/{number}.npy" for number in range(5)]
    crops = np.stack([np.load(crop_folder / path) for path in table["path"].to_pylist()])
    nan = np.full(2, np.nan)
    expected = linear_probabilities(crops, nan, nan)
    found = np.stack([table[f"p_{name}"].to_numpy() for name in names], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert table["label"].to_pylist() == [names[k] for k in expected.argmax(axis=1)]
    np.testing.assert_allclose(table["entropy"].to_numpy(), -(expected * np.log(expected)).sum(axis=1), atol=1e-4)
    assert table["unassigned"].to_pylist() == list(expected.max(axis=1) < 0.3)
    assert set(table["levels"].to_pylist()) == {"model"}
    assert table["atypicality"].null_count == 5
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["model_sha256"] == sha256(model.read_bytes()).hexdigest()
    assert metadata["model_name"] == "two_channels"
    assert metadata["notice"] == "for research use only"
    assert [channel["marker"] for channel in json.loads(metadata["panel"])["channels"]] == ["DAPI", "CK"]
    assert "5 crops" in capsys.readouterr().out


def test_a_class_that_the_panel_cannot_tell_is_not_counted_as_none(write_linear_model, crop_folder, tmp_path, capsys):
    path = write_linear_model()
    model = onnx.load(path)
    card = json.loads(model.metadata_props[0].value) | {"folded": {"ctc_platelet_cluster": "ctc"}}
    onnx.helper.set_model_props(model, {"ctcnet_card": json.dumps(card)})
    onnx.save(model, path)
    assert _run(path, crop_folder, "-o", tmp_path / "t.parquet") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["ctc_platelet_cluster"] == "not told on this panel: called ctc"
    assert all(lines[name].isdigit() for name in ("ctc", "leukocyte", "ctc_neutrophil_cluster", "debris"))


def test_manifest_brings_levels_and_order(write_linear_model, linear_probabilities, manifest, tmp_path):
    out = tmp_path / "table.csv"
    assert _run(write_linear_model(), manifest, "-o", out, "--batch-size", 2) == 0
    table = csv.read_csv(out)
    assert table["path"].to_pylist() == [f"a/{number}.npy" for number in reversed(range(5))]
    assert set(table["levels"].to_pylist()) == {"cartridge"}
    crops = np.stack([np.load(manifest.parent / path) for path in table["path"].to_pylist()])
    background = np.array([[10 + number % 2, 20] for number in reversed(range(5))])
    expected = linear_probabilities(crops, background, np.array([300, 400]))
    np.testing.assert_allclose(table["p_ctc"].to_numpy(), expected[:, 0], atol=1e-5)


def test_channels_in_another_order_give_the_same(write_linear_model, crop_folder, tmp_path):
    model = write_linear_model()
    assert _run(model, crop_folder, "-o", tmp_path / "first.csv") == 0
    for file in crop_folder.rglob("*.npy"):
        np.save(file, np.load(file)[::-1])
    panel = tmp_path / "turned.yaml"
    panel.write_text(
        "name: turned\nbit_depth: 12\npixel_size_um: 0.5\n"
        "channels:\n  - {marker: CK, role: epithelial}\n  - {marker: DAPI, role: nucleus}\n"
    )
    assert _run(model, crop_folder, "-o", tmp_path / "second.csv", "--panel", panel) == 0
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()


def test_another_panel_is_refused(write_linear_model, crop_folder, tmp_path, capsys):
    out = tmp_path / "table.csv"
    message = _fails(capsys, write_linear_model(), crop_folder, "-o", out, "--panel", "cellsearch4")
    assert "CD45" in message
    assert not out.exists()


def test_model_of_more_channels_than_the_images_is_refused(write_linear_model, crop_folder, tmp_path, capsys):
    np.save(crop_folder / "a" / "3.npy", np.zeros((3, 8, 8), np.uint16))
    message = _fails(capsys, write_linear_model(), crop_folder, "-o", tmp_path / "t.csv")
    assert "3.npy" in message
    assert not (tmp_path / "t.csv").exists()


def test_pixel_size_is_needed_and_can_be_stated(write_linear_model, crop_folder, tmp_path, capsys):
    words = (write_linear_model(), crop_folder, "-o", tmp_path / "t.csv")
    assert "pixel size" in _fails(capsys, *words, size_um=None)
    assert _run(*words, size_um=0.5) == 0


def test_corrupt_model_is_refused(write_linear_model, crop_folder, tmp_path, capsys):
    model = write_linear_model()
    model.write_bytes(model.read_bytes()[:300])
    assert "model.onnx" in _fails(capsys, model, crop_folder, "-o", tmp_path / "t.csv")


def test_model_without_a_card_is_refused(write_linear_model, crop_folder, tmp_path, capsys):
    model = write_linear_model(with_card=False)
    assert "no model card" in _fails(capsys, model, crop_folder, "-o", tmp_path / "t.csv")


def test_empty_folder_is_refused(write_linear_model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "empty" in _fails(capsys, write_linear_model(), tmp_path / "empty", "-o", tmp_path / "t.csv")


def test_missing_input_is_refused(write_linear_model, tmp_path, capsys):
    assert "nowhere" in _fails(capsys, write_linear_model(), tmp_path / "nowhere", "-o", tmp_path / "t.csv")


def test_output_that_exists_is_kept(write_linear_model, crop_folder, tmp_path, capsys):
    out = tmp_path / "t.csv"
    out.write_text("mine")
    assert "--overwrite" in _fails(capsys, write_linear_model(), crop_folder, "-o", out)
    assert out.read_text() == "mine"
    assert _run(write_linear_model(), crop_folder, "-o", out, "--overwrite") == 0
    assert out.read_text() != "mine"


def test_manifest_of_the_folder_that_is_classified_is_kept(write_linear_model, manifest, tmp_path, capsys):
    folder, model = manifest.parent, write_linear_model()
    manifest = manifest.rename(folder / "manifest.csv")
    before = manifest.read_bytes()
    assert "is also an input" in _fails(capsys, model, folder, "-o", manifest, "--overwrite")
    assert manifest.read_bytes() == before
    for _ in range(2):  # a new table, and the same again
        assert _run(model, folder, "-o", folder / "table.csv", "--overwrite") == 0


def test_folder_that_cannot_be_written_is_refused(write_linear_model, crop_folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in _fails(capsys, write_linear_model(), crop_folder, "-o", tmp_path / "file" / "t.csv")


def test_output_of_another_kind_is_refused(write_linear_model, crop_folder, tmp_path, capsys):
    assert ".parquet or .csv" in _fails(capsys, write_linear_model(), crop_folder, "-o", tmp_path / "t.xlsx")


def test_unreadable_crop_leaves_nothing(write_linear_model, crop_folder, tmp_path, capsys):
    (crop_folder / "a" / "4.npy").write_bytes(b"\x93NUMPY")
    assert "4.npy" in _fails(capsys, write_linear_model(), crop_folder, "-o", tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()
    assert not list(tmp_path.glob(".*part*"))


@pytest.mark.parametrize("option", [("--batch-size", "0"), ("--threads", "0")])
def test_numbers_below_one_are_refused(write_linear_model, crop_folder, tmp_path, capsys, option):
    assert main(["classify", str(write_linear_model()), str(crop_folder), "-o", str(tmp_path / "t.csv"), *option]) == 2
    assert "below 1" in capsys.readouterr().err


def test_whole_frame_is_refused_and_scan_is_named(write_linear_model, tmp_path, capsys):
    frames = tmp_path / "frames"
    frames.mkdir()
    np.save(frames / "frame.npy", np.zeros((2, 1036, 1384), np.uint16))
    message = _fails(capsys, write_linear_model(), frames, "-o", tmp_path / "t.parquet")
    assert "frame.npy: is no crop of one event but a frame: only 4 um about its centre" in message
    assert "1384 x 1036 px, 692 x 518 um" in message
    assert "ctcnet scan" in message
    assert not (tmp_path / "t.parquet").exists()
