"""Every verb with a shipped model by its name: an untrained stand-in answers, on the panel that is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pyarrow import parquet

from ctcnet.cli import main
from ctcnet.cli.models import model_sha256
from ctcnet.panel import load_panel
from ctcnet.pretrained.specialise import specialise
from ctcnet.resources import resource_dir
from ctcnet.simulate.cartridge_writer import write_simulated_cartridge
from ctcnet.training.checkpoint import write_model
from ctcnet.training.shipped_weights import WEIGHTS_FILE, read_shipped

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("shipped_models"),
    pytest.mark.filterwarnings("ignore"),
]

SHIPPED_PANELS = ("cellsearch4", "ctc5", "rgb_merge")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("crops") / "crops"
    words = ["simulate", "crops", str(out), "--count", "30", "--groups", "5", "--seed", "1", "--panel", "ctc5"]
    assert main(words) == 0
    return out / "manifest.csv"


@pytest.fixture(scope="module")
def cartridge(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cartridges")
    return write_simulated_cartridge(
        folder / "first", layout="celltracks", frames=2, nuclei_per_frame=14, seed=5, ctc=3, frame_size_px=(256, 224)
    )


def _identity(models: Path, panel: str) -> str:
    """Hash of the weights, the panel's channels and what calibration gave them."""
    folder = models / "ctcnet-s"
    return model_sha256(folder / WEIGHTS_FILE, specialise(read_shipped(folder), load_panel(panel)).card)


def _refused(capsys, *words) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    message = capsys.readouterr().err
    assert message.count("error: ") == 1
    assert "Traceback" not in message
    return message


def test_classify_names_model_and_panel(crops, tmp_path, shipped_models, capsys):
    out = tmp_path / "t.parquet"
    assert main(["classify", "ctcnet-s", str(crops), "-o", str(out), "--panel", "ctc5", "--device", "cpu"]) == 0
    metadata = parquet.read_table(out).schema.metadata
    assert metadata[b"model_name"] == b"ctcnet-s"
    assert metadata[b"model_sha256"].decode() == _identity(shipped_models, "ctc5")
    assert "note: The panel has no" not in capsys.readouterr().out


def test_store_brings_its_own_panel(crops, tmp_path, shipped_models):
    store, out = tmp_path / "store", tmp_path / "t.parquet"
    words = ["pack", str(crops), "--panel", "ctc5", "--labels", "five_class", "-o", str(store)]
    assert main([*words, "--crop-size-px", "48"]) == 0
    assert main(["classify", "ctcnet-s", str(store), "-o", str(out), "--device", "cpu"]) == 0
    assert parquet.read_table(out).schema.metadata[b"model_sha256"].decode() == _identity(shipped_models, "ctc5")


def test_evaluate_names_the_specialised_model(crops, tmp_path, shipped_models):
    words = ["evaluate", "ctcnet-s", str(crops), "-o", str(tmp_path / "e"), "--panel", "ctc5", "--bootstrap", "0"]
    assert main([*words, "--device", "cpu"]) == 0
    assert _identity(shipped_models, "ctc5") in (tmp_path / "e" / "metrics.json").read_text()


def test_export_gives_a_file_that_needs_no_torch(crops, tmp_path, capsys):
    model, out = tmp_path / "m.onnx", tmp_path / "t.csv"
    assert main(["export", "ctcnet-s", "-o", str(model), "--panel", "cellsearch4"]) == 0
    assert "note: The panel has no platelet marker" in capsys.readouterr().out
    panel = tmp_path / "panel.yaml"
    panel.write_text(json.dumps(load_panel("ctc5").to_dict()))
    assert main(["export", "ctcnet-s", "-o", str(model), "--panel", str(panel), "--overwrite"]) == 0
    assert main(["classify", str(model), str(crops), "-o", str(out)]) == 0
    assert main(["verify", str(model), "--against", "ctcnet-s"]) == 0


def test_scan_takes_the_platforms_panel_and_resumes_with_no_other(cartridge, tmp_path, shipped_models, capsys):
    out = tmp_path / "results"
    words = ["scan", str(cartridge), "--model", "ctcnet-s", "-o", str(out), "--device", "cpu", "--threads", "1"]
    assert main(words) == 0
    assert json.loads((out / "scan.json").read_text())["model_sha256"] == _identity(shipped_models, "cellsearch4")
    assert main([*words, "--resume", "--panel", "cellsearch4"]) == 0
    assert "another model" in _refused(capsys, *words, "--resume", "--panel", "ctc5")


def test_cartridges_of_other_channels_are_scanned_apart(cartridge, tmp_path, capsys):
    other = write_simulated_cartridge(
        tmp_path / "second", layout="bzscanner", frames=2, nuclei_per_frame=5, seed=5, frame_size_px=(256, 224)
    )
    words = ("scan", cartridge, other, "--model", "ctcnet-s", "-o", tmp_path / "results", "--device", "cpu")
    message = _refused(capsys, *words)
    assert "same channels" in message
    assert "--panel" in message
    assert not (tmp_path / "results").exists()


def test_scan_needs_a_panel_where_the_platform_has_none(cartridge, tmp_path, capsys):
    words = ("scan", cartridge, "--model", "ctcnet-s", "-o", tmp_path / "results", "--device", "cpu")
    assert "needs a panel" in _refused(capsys, *words, "--layout", "ome_tiff")
    missing = ("scan", tmp_path / "nowhere", *words[2:])
    assert "nowhere" in _refused(capsys, *missing)


def _words(verb: str, crops: Path, out: Path, model: str) -> list[str]:
    words = {
        "classify": ["classify", model, crops, "-o", out / "t.csv"],
        "evaluate": ["evaluate", model, crops, "-o", out / "e"],
        "export": ["export", model, "-o", out / "m.onnx"],
        "scan": ["scan", crops.parent, "--model", model, "-o", out / "s"],
    }
    return [str(word) for word in words[verb]]


@pytest.mark.parametrize("verb", ["classify", "evaluate", "export", "scan"])
def test_unknown_name_lists_names_and_kinds_of_file(verb, crops, tmp_path, capsys):
    message = _refused(capsys, *_words(verb, crops, tmp_path, "ctcnet-x"))
    for part in ("'ctcnet-x'", "a shipped model: ctcnet-s", ".onnx", ".ckpt", "run folder"):
        assert part in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["classify", "evaluate", "export"])
def test_model_without_a_panel_lists_those_shipped(verb, crops, tmp_path, capsys):
    message = _refused(capsys, *_words(verb, crops, tmp_path, "ctcnet-s"))
    assert "--panel" in message
    assert all(name in message for name in SHIPPED_PANELS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["classify", "evaluate", "export", "scan"])
def test_panel_without_a_nucleus_says_what_would_be_lost(verb, crops, tmp_path, capsys):
    panel = tmp_path / "panel.yaml"
    channels = [{"marker": "CK", "role": "epithelial"}, {"marker": "CD45", "role": "leukocyte"}]
    panel.write_text(json.dumps({"name": "no_dna", "bit_depth": 12, "channels": channels}))
    message = _refused(capsys, *_words(verb, crops, tmp_path, "ctcnet-s"), "--panel", panel)
    assert "role nucleus is missing" in message
    assert "every class would be lost" in message


def test_checkpoint_is_exported_with_its_own_panel(tmp_path, capsys):
    (tmp_path / "best.ckpt").write_bytes(b"")
    message = _refused(capsys, "export", tmp_path / "best.ckpt", "-o", tmp_path / "m.onnx", "--panel", "ctc5")
    assert "--panel is for shipped models alone" in message


def test_weights_are_not_written_over(crops, shipped_models, capsys):
    weights = shipped_models / "ctcnet-s" / "weights.safetensors"
    before = weights.read_bytes()
    words = ("scan", crops.parent, "--model", "ctcnet-s", "-o", weights.parent, "--panel", "ctc5", "--overwrite")
    assert "holds an input" in _refused(capsys, *words)
    assert weights.read_bytes() == before


_BLOCKED = """
import sys
from pathlib import Path

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from ctcnet.training import shipped_weights
shipped_weights.resource_dir = lambda kind: Path(MODELS)
from ctcnet.cli import main
print([main(words) for words in VERBS])
"""


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_missing_extra_names_the_command(package, crops, tmp_path, shipped_models):
    verbs = [[*_words(verb, crops, tmp_path, "ctcnet-s"), "--panel", "ctc5"] for verb in ("classify", "export", "scan")]
    code = _BLOCKED.replace("{BLOCKED}", repr({package})).replace("MODELS", repr(str(shipped_models)))
    words = [sys.executable, "-c", code.replace("VERBS", repr(verbs))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip().endswith("[2, 2, 2]"), done.stderr
    assert done.stderr.count('pip install "ctcnet[') == 3


_TRAINING_ONLY = {
    "lightning",
    "torchvision",
    "albumentations",
    "jsonargparse",
    "sklearn",
    "onnx",
    "onnxscript",
    "onnx_ir",
}
"""What the extra `train` installs and `scan` does not."""


def test_the_extra_scan_suffices_to_scan(cartridge, tmp_path, shipped_models):
    checkpoint = tmp_path / "best.ckpt"
    stand_in = specialise(read_shipped(shipped_models / "ctcnet-s"), load_panel("cellsearch4"))
    write_model(checkpoint, stand_in.network, stand_in.card, 0, 0)
    options = ["--device", "cpu", "--threads", "1"]
    verbs = [
        ["scan", str(cartridge), "--model", model, "-o", str(tmp_path / name), *options]
        for name, model in (("by_name", "ctcnet-s"), ("by_checkpoint", str(checkpoint)))
    ]
    code = _BLOCKED.replace("{BLOCKED}", repr(_TRAINING_ONLY)).replace("MODELS", repr(str(resource_dir("models"))))
    words = [sys.executable, "-c", code.replace("VERBS", repr(verbs))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert done.stdout.strip().endswith("[0, 0]"), done.stderr
    for name in ("by_name", "by_checkpoint"):
        assert (tmp_path / name / "first" / "report.html").is_file()


@pytest.mark.parametrize("name", ["model.onnx", "model_cellsearch4.onnx"])
def test_the_files_that_are_shipped_prove_what_they_say(name, capsys):
    assert main(["verify", str(resource_dir("models") / "ctcnet-s" / name)]) == 0
    assert "pass" in capsys.readouterr().out
