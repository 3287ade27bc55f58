"""The script that makes the shipped model: how it puts the files in their place. Nothing is trained."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ctcnet.errors import OutputError
from ctcnet.training.shipped_weights import read_shipped

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[3] / "scripts" / "make_ctcnet_s.py"
    spec = importlib.util.spec_from_file_location("make_ctcnet_s", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(stand_in_folder):
    """Card and weights of a model that was trained."""
    shipped = read_shipped(stand_in_folder / "ctcnet-s")
    hashes = ("weights_sha256", "calibrations_sha256")
    card = {name: value for name, value in vars(shipped.card).items() if name not in hashes}
    return card | {"software_version": "newer"}, shipped.weights


@pytest.fixture
def older(stand_in_folder, tmp_path):
    """Folder of an older model, with the page that is written by hand."""
    folder = shutil.copytree(stand_in_folder / "ctcnet-s", tmp_path / "ctcnet-s")
    for name in ("README.md", "model.onnx", "model.onnx.sig", "calibrations.safetensors"):
        (folder / name).write_text("older")
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("step", ["calibrated", "export"])
def test_an_interrupted_run_leaves_the_older_model_whole(script, made, older, monkeypatch, step):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "calibrated", lambda model, processes: model)
    monkeypatch.setattr(script, step, interrupted)
    before = _contents(older)
    with pytest.raises(KeyboardInterrupt):
        script.install(older, *made, processes=1)
    assert _contents(older) == before
    assert [path.name for path in older.parent.iterdir()] == ["ctcnet-s"]


def test_a_finished_run_replaces_all_but_the_page_written_by_hand(script, made, older, monkeypatch):
    monkeypatch.setattr(script, "calibrated", lambda model, processes: model)
    monkeypatch.setattr(script, "export", lambda model: (model.folder / "model.onnx").write_text("newer"))
    script.install(older, *made, processes=1)
    assert set(_contents(older)) == {"README.md", "card.json", "weights.safetensors", "model.onnx"}
    assert read_shipped(older).card.software_version == "newer"
    assert (older / "model.onnx").read_text() == "newer"
    assert (older / "README.md").read_text() == "older"
    assert [path.name for path in older.parent.iterdir()] == ["ctcnet-s"]


def test_a_folder_of_something_else_is_not_replaced(script, made, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious").write_text("x")
    with pytest.raises(OutputError, match="did not write"):
        script.install(tmp_path / "photos", *made, processes=1)
    assert _contents(tmp_path / "photos") == {"precious": b"x"}


@pytest.mark.parametrize(("cpus", "words"), [({3}, ", 1 CPU"), ({0, 1}, ", 2 CPUs")])
def test_hardware_counts_one_cpu_in_the_singular(script, monkeypatch, cpus, words):
    monkeypatch.setattr(script.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(script.os, "sched_getaffinity", lambda _: cpus)
    assert script.hardware().endswith(words)


@pytest.mark.parametrize("stage", ["platelet", "no_platelet"])
def test_each_of_the_shipped_networks_for_cartridges_sees_its_own_panels(script, stage):
    settings = script.stream_settings(stage)
    platelet = {panel.name for panel in settings.panels if "platelet" in panel.roles}
    assert platelet == ({"ctc5", "sarcoma"} if stage == "platelet" else set())
    assert settings.platelet == (stage == "platelet")
    assert {panel.name for panel in script.stream_settings("cartridge").panels} == set(script.PANELS) - {"rgb_merge"}


def test_networks_start_from_those_they_are_said_to_and_are_taught_by_them(script, monkeypatch):
    seen = {}

    def train(args, stage, settings, start, teacher=None):
        seen[stage] = (start, teacher)
        return stage

    monkeypatch.setattr(script, "train", train)
    steps = ("steps", "bounded_steps", "narrow_steps", "last_steps", "longer_steps", "no_platelet_steps")
    args = SimpleNamespace(**dict.fromkeys((*steps, "platelet_steps", "per_crop_steps"), 40))
    assert set(script.train_all(args)) == set(seen) == set(script.STAGES)
    assert seen["no_platelet"] == ("longer", "longer")
    assert seen["platelet"] == ("cartridge", "cartridge")
    assert seen["longer"] == seen["per_crop"] == ("cartridge", None)
