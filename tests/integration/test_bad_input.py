"""Every kind of bad input through every verb that can meet it: one clear error, exit code 2, nothing half-written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import torch

from ctcnet.cli.main import main
from ctcnet.export.export import export_predictor
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard
from ctcnet.networks import build_classifier
from ctcnet.panel import Channel, Panel
from ctcnet.training.checkpoint import load_classifier, write_model

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

PANEL = Panel("two", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial")), 12, 0.5)
CLASSES = ("ctc", "leukocyte")
SIDE = 16
VERBS = ("check", "pack", "fit", "evaluate", "classify")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with best.ckpt and model.onnx."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = build_classifier("compact", PANEL.roles, len(CLASSES)).eval()
    card = ModelCard(
        name="small",
        backbone="compact",
        panel=PANEL,
        labels=LabelSchema("pair", CLASSES),
        pixel_size_um=0.5,
        crop_size_px=SIDE,
        normalization=NormalizationCard("fixed", (100.0, 100.0), (400.0, 400.0), 64.0),
        temperature=1.0,
        training_prior=(0.5, 0.5),
        unassigned_below=0.3,
        training_data=TrainingDataCard("cd" * 32, True, 10, 2, {}, ()),
        software_version="0.1.0",
    )
    write_model(folder / "best.ckpt", network, card, epoch=0, step=1)
    export_predictor(load_classifier(folder / "best.ckpt"), folder / "model.onnx")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folder with twelve crops of four groups, their manifest, the panel and the labels; outputs go to `out`."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "out").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        write_image(folder / f"{number}.tif", rng.integers(50, 900, (2, SIDE, SIDE)).astype(np.uint16))
        rows.append({"path": f"{number}.tif", "label": CLASSES[number % 2], "group": f"g{number // 3}"})
    write_manifest(folder, rows)
    write_yaml(folder / "panel.yaml", PANEL.to_dict())
    write_yaml(folder / "labels.yaml", {"name": "pair", "classes": list(CLASSES)})
    return folder


def write_image(path: Path, image: np.ndarray) -> None:
    path.unlink(missing_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack", metadata={"axes": "CYX"})


def write_yaml(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content))  # JSON is YAML


def read_manifest(data: Path) -> list[dict[str, str]]:
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_manifest(data: Path, rows: list[dict[str, str]]) -> None:
    with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def words(verb: str, data: Path, model: Path, source: Path | None = None) -> list[str]:
    """Arguments of a verb upon the data."""
    manifest, out = source or data / "manifest.csv", data.parent / "out"
    panel, labels = data / "panel.yaml", data / "labels.yaml"
    common = ["--panel", panel, "--labels", labels]
    arguments = {
        "check": ["check", manifest, *common],
        "pack": ["pack", manifest, *common, "-o", out / "store", "--crop-size-px", SIDE],
        "fit": [
            *("train", "fit", "--data.manifest", manifest, "--data.panel", panel, "--data.labels", labels),
            *("--data.crop_size_px", SIDE, "--data.split.val_fraction", 0.3, "--data.batch_size", 4),
            *("--trainer.max_epochs", 1, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
            *("--run_dir", out / "run"),
        ],
        "evaluate": ["evaluate", model / "model.onnx", manifest, "--panel", panel, "-o", out / "e", "--bootstrap", 0],
        "classify": ["classify", model / "model.onnx", manifest, "--panel", panel, "-o", out / "t.csv", "--threads", 1],
        "export": ["export", model / "best.ckpt", "-o", out / "m.onnx"],
    }
    return [str(word) for word in arguments[verb]]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """Run a command that must fail with one clear message, and give all that it printed."""
    capsys.readouterr()
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    if code == 2:
        assert printed.err.count("error: ") == 1
    return printed.out + printed.err


# --- bad data: what is done to it, what the message names, and the verbs that meet it -------------------------------


def _image(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda data: write_image(data / "3.tif", change(tifffile.imread(data / "3.tif")))


def _float_with(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(image: np.ndarray) -> np.ndarray:
        image = image.astype(np.float32)
        image[0, 0, 0] = value
        return image

    return change


def _rows(**values: str | list[str]) -> Callable[[Path], None]:
    """Set columns of the manifest: one value for line 5, or a list for all the lines in turn."""

    def change(data: Path) -> None:
        rows = read_manifest(data)
        for name, value in values.items():
            for number, row in enumerate(rows):
                if isinstance(value, list):
                    row[name] = value[number % len(value)]
                else:
                    row[name] = value if number == 3 else row.get(name, "")
        write_manifest(data, rows)

    return change


def _panel(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(data: Path) -> None:
        content = PANEL.to_dict()
        change(content)
        write_yaml(data / "panel.yaml", content)

    return apply


def _cut(data: Path) -> None:
    (data / "3.tif").write_bytes((data / "3.tif").read_bytes()[:500])


READ = ("pack", "fit", "evaluate", "classify")
LABELLED = ("pack", "fit", "evaluate")
_TWO_SPLITS = _rows(split=["train", "val"])
BAD_DATA: dict[str, tuple[Callable[[Path], object], str, tuple[str, ...]]] = {
    "missing channel": (_image(lambda x: x[:1]), "3.tif", READ),
    "extra channel": (_image(lambda x: np.concatenate([x, x[:1]])), "3.tif", READ),
    "truncated image": (_cut, "3.tif", READ),
    "zero-byte image": (lambda data: (data / "3.tif").write_bytes(b""), "3.tif", READ),
    "text for an image": (lambda data: (data / "3.tif").write_text("no image"), "3.tif", READ),
    "NaN pixel": (_image(_float_with(float("nan"))), "3.tif", READ),
    "infinite pixel": (_image(_float_with(float("inf"))), "3.tif", READ),
    "above the bit depth": (_image(lambda x: x + 5000), "3.tif", READ),
    "missing image": (lambda data: (data / "3.tif").unlink(), "3.tif", READ),
    "empty manifest": (lambda data: (data / "manifest.csv").write_text(""), "manifest.csv", READ),
    "manifest of a header": (
        lambda data: (data / "manifest.csv").write_text("path,label,group\n"),
        "manifest.csv",
        READ,
    ),
    "NUL in the manifest": (_rows(path="3\0.tif"), "line 5", READ),
    "label outside the schema": (_rows(label="blast"), "line 5", LABELLED),
    "group in two splits": (_TWO_SPLITS, "g0", READ),
    "weight far too large": (_rows(weight="1e300"), "line 5", READ),
    "no weight at all": (_rows(weight=["0"]), "manifest.csv", READ),
    "scale of nothing": (
        _rows(**{f"{kind}_{name}": ["1e-300"] for kind in ("background", "scale") for name in ("DAPI", "CK")}),
        "scale_",
        READ,
    ),
    "pixel size in metres": (_rows(pixel_size_um="0.0000005"), "line 5", READ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(name, data, model, capsys):
    change, named, verbs = BAD_DATA[name]
    change(data)
    for verb in verbs:
        message = refused(words(verb, data, model), capsys)
        assert named in message, f"{verb}: {message}"
        assert not list((data.parent / "out").iterdir()), f"{verb} left something"
    assert "error(s)" in refused(words("check", data, model), capsys, code=1)


BAD_PANELS = {
    "channels named twice": (_panel(lambda c: c["channels"][1].update(marker="dapi")), "twice"),
    "unknown role": (_panel(lambda c: c["channels"][1].update(role="epithelail")), "epithelail"),
    "unknown key": (_panel(lambda c: c.update(bitdepth=12)), "bitdepth"),
    "half a bit": (_panel(lambda c: c.update(bit_depth=12.5)), "bit depth"),
    "emission in words": (_panel(lambda c: c["channels"][0].update(emission_nm="blue")), "emission_nm"),
    "marker that is no text": (_panel(lambda c: c["channels"][0].update(marker=None)), "marker"),
}


@pytest.mark.parametrize("name", BAD_PANELS)
def test_bad_panel_names_its_file(name, data, model, capsys):
    change, named = BAD_PANELS[name]
    change(data)
    for verb in VERBS:
        message = refused(words(verb, data, model), capsys)
        assert named in message
        assert "panel.yaml" in message
        assert not list((data.parent / "out").iterdir())


@pytest.mark.parametrize(
    "content",
    [{"classes": ["a", "a"]}, {"classes": "ab"}, {"rollups": 3}, {"rollups": {"x": "ctc"}}, {"parents": ["a"]}],
)
def test_bad_labels_name_their_file(content, data, model, capsys):
    write_yaml(data / "labels.yaml", {"name": "pair", "classes": list(CLASSES), **content})
    for verb in ("check", "pack", "fit"):
        assert "labels.yaml" in refused(words(verb, data, model), capsys)


def test_no_pixel_size(data, model, capsys):
    _panel(lambda c: c.pop("pixel_size_um"))(data)
    for verb in READ:
        message = refused([*words(verb, data, model)], capsys)
        assert "pixel size" in message or "scale" in message
        assert not list((data.parent / "out").iterdir())
    assert "pixel size" in " ".join(refused(words("check", data, model), capsys, code=1).split())


def test_class_absent_from_training(data, model, capsys):
    write_manifest(data, [row for row in read_manifest(data) if row["label"] == "ctc"])
    assert "leukocyte" in refused(words("fit", data, model), capsys)
    assert "leukocyte" in refused(words("check", data, model), capsys, code=1)
    assert not list((data.parent / "out").iterdir())


def test_model_of_another_panel(data, model, capsys):
    _panel(lambda c: c["channels"][1].update(marker="EpCAM"))(data)
    for verb in ("evaluate", "classify"):
        assert "EpCAM" in refused(words(verb, data, model), capsys)
    for subcommand in ("validate", "test"):
        arguments = words("fit", data, model)
        arguments[1] = subcommand
        message = refused([*arguments[:8], *arguments[-2:], "--ckpt_path", str(model / "best.ckpt")], capsys)
        assert "EpCAM" in message


# --- models -----------------------------------------------------------------------------------------------------------


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


# --- outputs ----------------------------------------------------------------------------------------------------------

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
    _cut(data)
    refused([*words("fit", data, model), "--overwrite", "true"], capsys)
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before
    assert [path.name for path in run.parent.iterdir()] == ["run"]


# --- options ----------------------------------------------------------------------------------------------------------


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
    "option", [("--count", "0"), ("--seed", "-1"), ("--seed", str(2**70)), ("--device", "meta"), ("--groups", "9")]
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


# --- stores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crops.npy", "index.parquet", "store.json"])
def test_store_cut_in_half(name, data, model, capsys):
    store = data / "store"
    assert main(["pack", str(data / "manifest.csv"), "--panel", str(data / "panel.yaml"), "-o", str(store)]) == 0
    content = (store / name).read_bytes()
    (store / name).write_bytes(content[: len(content) // 2])
    for verb in ("fit", "evaluate", "classify"):
        assert name in refused(words(verb, data, model, store), capsys)
        assert not list((data.parent / "out").iterdir())
    refused(words("check", data, model, store), capsys, code=1)


@pytest.mark.parametrize(("key", "value"), [("pixel_size_um", -1), ("crop_size_px", 0), ("simulated", "yes")])
def test_store_with_an_impossible_header(key, value, data, model, capsys):
    store = data / "store"
    assert main(["pack", str(data / "manifest.csv"), "--panel", str(data / "panel.yaml"), "-o", str(store)]) == 0
    header = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**header, key: value}))
    assert key in refused(words("classify", data, model, store), capsys)
