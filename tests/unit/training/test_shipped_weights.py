import json
import math
import shutil
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file

from ctcnet.cli import main
from ctcnet.cli.models import find_model
from ctcnet.errors import ModelFileError
from ctcnet.labels import load_schema
from ctcnet.panel import load_panel
from ctcnet.simulate.composition import CLASSES
from ctcnet.training.shipped_weights import (
    WITH_PLATELET,
    find_shipped,
    is_shipped_name,
    read_shipped,
    shadow_note,
    shipped_names,
    specialised_sha256,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(stand_in_folder, tmp_path):
    """A copy of the stand-in that a test may damage."""
    return shutil.copytree(stand_in_folder / "ctcnet-s", tmp_path / "copy")


def test_model_is_read_as_it_was_written(stand_in_folder):
    model = read_shipped(stand_in_folder / "ctcnet-s")
    assert model.card.name == "ctcnet-s"
    assert model.card.labels.classes[0] == "ctc"
    assert set(model.weights) == {"cartridge", "per_crop", WITH_PLATELET}
    first, second, third = (state["backbone.stem.filters.nucleus"] for state in model.weights.values())
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)


def test_matrices_are_kept_in_half_precision_and_all_else_whole(stand_in_folder):
    stored = load_file(stand_in_folder / "ctcnet-s" / "weights.safetensors")
    assert {value.dtype for value in stored.values() if value.dim() > 1} == {torch.float16}
    assert {value.dtype for value in stored.values() if value.dim() < 2} == {torch.float32, torch.int64}
    for mode, state in read_shipped(stand_in_folder / "ctcnet-s").weights.items():
        for name, value in state.items():
            assert value.dtype in (torch.float32, torch.int64)
            assert torch.equal(value, stored[f"{mode}.{name}"].to(value.dtype))


@pytest.mark.parametrize(
    ("mode", "roles", "own"),
    [
        ("cartridge", ("nucleus", "epithelial"), "cartridge"),
        ("cartridge", ("nucleus", "platelet"), WITH_PLATELET),
        ("per_crop", ("nucleus", "platelet"), "per_crop"),
    ],
)
def test_a_panel_with_a_platelet_marker_has_weights_of_its_own(stand_in_folder, mode, roles, own):
    model = read_shipped(stand_in_folder / "ctcnet-s")
    assert model.weights_for(mode, roles) is model.weights[own]


def test_without_weights_for_a_platelet_marker_those_of_cartridges_serve(folder):
    tensors = load_file(folder / "weights.safetensors")
    _save(folder, {name: value for name, value in tensors.items() if not name.startswith(f"{WITH_PLATELET}.")})
    model = read_shipped(folder)
    assert model.weights_for("cartridge", ("nucleus", "platelet")) is model.weights["cartridge"]


def test_names_are_what_is_no_path(shipped_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert is_shipped_name("ctcnet-s")
    for path in ("folder", "a/ctcnet-s", "./ctcnet-s", "m.onnx", ".", ""):
        assert not is_shipped_name(path)


def test_model_is_found_by_name_and_by_path(shipped_models):
    assert shipped_names() == ("ctcnet-s",)
    folder = shipped_models / "ctcnet-s"
    assert find_shipped("ctcnet-s", "") == folder
    assert find_shipped(folder, "") == folder
    assert find_shipped(folder / "weights.safetensors", "") == folder
    assert find_shipped(shipped_models, "") is None
    assert find_shipped("run/best.ckpt", "") is None


def test_folder_that_was_never_finished_is_no_model(shipped_models):
    unfinished = shipped_models / ".ctcnet-s.1.part"
    unfinished.mkdir()
    (unfinished / "card.json").write_text("{}")
    assert shipped_names() == ("ctcnet-s",)


def test_shipped_name_goes_before_a_folder_that_has_it_too(shipped_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctcnet-s").mkdir()
    (tmp_path / "ctcnet-s" / "best.ckpt").write_bytes(b"")
    assert is_shipped_name("ctcnet-s")
    assert find_model("ctcnet-s") == shipped_models / "ctcnet-s" / "weights.safetensors"
    assert capsys.readouterr().out == f"note: {shadow_note('ctcnet-s')}\n"
    for text in ("./ctcnet-s", str(tmp_path / "ctcnet-s")):
        assert find_model(text).resolve() == tmp_path / "ctcnet-s" / "best.ckpt"
    assert capsys.readouterr().out == ""
    assert shadow_note("folder") == ""


@pytest.mark.parametrize(
    "words",
    [
        ["classify", "./ctcnet-s", "m.csv", "-o", "t.csv"],
        ["evaluate", "./ctcnet-s", "m.csv", "-o", "e"],
        ["export", "./ctcnet-s", "-o", "m.onnx"],
        ["scan", "c", "--model", "./ctcnet-s", "-o", "s"],
    ],
)
def test_every_verb_keeps_the_dot_of_a_folder(shipped_models, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctcnet-s").mkdir()
    assert main(words) == 2
    assert "folder holds no best.ckpt" in capsys.readouterr().err


def test_unknown_name_lists_names_and_other_kinds(shipped_models):
    with pytest.raises(ModelFileError) as caught:
        find_shipped("ctcnet-x", "a file of this kind")
    assert "no shipped model is called 'ctcnet-x'" in str(caught.value)
    assert caught.value.expected == "a file of this kind, or a shipped model: ctcnet-s"


def test_installation_without_models_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("ctcnet.training.shipped_weights.resource_dir", lambda kind: tmp_path)
    assert shipped_names() == ()
    with pytest.raises(ModelFileError, match="this installation has none"):
        find_shipped("ctcnet-s", "a file")


def test_identity_depends_on_the_channels_that_are_fed():
    panel = load_panel("ctc5")
    first = specialised_sha256("ab", panel)
    assert first == specialised_sha256("ab", replace(panel, name="another"))
    assert first != specialised_sha256("cd", panel)
    assert first != specialised_sha256("ab", replace(panel, bit_depth=16))
    assert first != specialised_sha256("ab", replace(panel, channels=panel.channels[::-1]))


def _cut(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _edited(**changes):
    def edit(folder):
        path = folder / "card.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "not the file that the card describes"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "card.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "card.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "card.json").write_text("[]"), "no card"),
        (_edited(card_format=99), "no card"),
        (_edited(more=1), "more"),
        (_edited(class_shares=3), "malformed"),
        (_edited(labels={"name": "x"}), "classes"),
        (_edited(labels={"name": "x", "classes": ["ctc", "ctc"]}), "twice"),
        (_edited(labels=None), "malformed"),
        (_edited(labels={**load_schema("five_class").to_dict(), "classes": list(CLASSES[::-1])}), "other classes"),
        (_edited(pixel_size_um="0.6"), "pixel_size_um"),
        (_edited(pixel_size_um=math.nan), "pixel_size_um"),
        (_edited(pixel_size_um=0), "pixel_size_um"),
        (_edited(crop_size_px=-3), "crop_size_px"),
        (_edited(crop_size_px=32.5), "crop_size_px"),
        (_edited(crop_size_px=10**9), "crop_size_px"),
        (_edited(class_shares=[0.25] * 4), "one per class"),
        (_edited(class_shares=[0.2] * 4 + [math.nan]), "add up to 1"),
        (_edited(class_shares=[0.3] * 5), "add up to 1"),
        (_edited(class_shares=[1.2, -0.2, 0, 0, 0]), "add up to 1"),
        (_edited(training=[1]), "training as a mapping"),
        (_edited(training={"crops": "many"}), "crops and groups as numbers"),
        (_edited(backbone=7), "as text"),
        (_edited(name=None), "as text"),
        (_edited(simulated=False), "simulated"),
    ],
)
def test_damaged_model_is_refused(folder, damage, words):
    damage(folder)
    with pytest.raises(ModelFileError, match=words):
        read_shipped(folder)


def _save(folder, tensors):
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    _edited(weights_sha256=sha256(path.read_bytes()).hexdigest())(folder)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_not_finite_are_refused(folder, value):
    tensors = load_file(folder / "weights.safetensors")
    tensors["per_crop.head.bias"][0] = value
    _save(folder, tensors)
    with pytest.raises(ModelFileError, match="not finite") as caught:
        read_shipped(folder)
    assert "per_crop.head.bias" in str(caught.value.found)


def test_weights_of_one_mode_alone_are_refused(folder):
    tensors = load_file(folder / "weights.safetensors")
    _save(folder, {name: value for name, value in tensors.items() if name.startswith("cartridge.")})
    with pytest.raises(ModelFileError, match="no weights of the mode per_crop"):
        read_shipped(folder)
