"""Bad crops, manifests, panels, labels, stores: one clear error from every verb that can meet them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bad_input_commands import (
    CLASSES,
    PANEL,
    VERBS,
    cut_crop,
    read_manifest,
    refused,
    words,
    write_image,
    write_manifest,
    write_yaml,
)

from ctcnet.cli.main import main

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


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


READ = ("pack", "fit", "evaluate", "classify")
LABELLED = ("pack", "fit", "evaluate")
_TWO_SPLITS = _rows(split=["train", "val"])
BAD_DATA: dict[str, tuple[Callable[[Path], object], str, tuple[str, ...]]] = {
    "missing channel": (_image(lambda x: x[:1]), "3.tif", READ),
    "extra channel": (_image(lambda x: np.concatenate([x, x[:1]])), "3.tif", READ),
    "truncated image": (cut_crop, "3.tif", READ),
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


def test_workers_report_a_bad_image_as_the_training_process_does(data, model, capsys):
    cut_crop(data)
    messages = []
    for workers in ("0", "1"):
        message = refused([*words("fit", data, model), "--data.num_workers", workers], capsys)
        messages.append(message[message.index("error: ") :].strip())
    assert messages[0].startswith(f"error: {data / '3.tif'}: ")
    assert messages[1] == messages[0]


def test_float_image_among_counts_is_named(data, model, capsys):
    _image(lambda x: x.astype(np.float32))(data)
    for verb in ("evaluate", "classify"):
        assert "3.tif: is float32" in refused(words(verb, data, model), capsys)


@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        (_rows(label=["ctc"] * 9 + ["leukocyte"] * 3, split=["train"] * 9 + ["val"] * 3), (), "absent from training"),
        (_rows(group=["a"] * 6 + ["b"] * 6), ("--data.split.test_fraction", "0.2"), "cannot be divided"),
    ],
)
def test_division_that_cannot_be_made_names_the_manifest(rows, options, problem, data, model, capsys):
    rows(data)
    message = refused([*words("fit", data, model), *options], capsys)
    assert problem in next(line for line in message.splitlines() if str(data / "manifest.csv") in line)


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


@pytest.mark.parametrize("name", ["crops.npy", "index.parquet", "store.json"])
def test_storecut_crop_in_half(name, data, model, capsys):
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
