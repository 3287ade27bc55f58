"""OME-Zarr cartridges; the metadata are written here as the standard prints them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers import ome_zarr

zarr = pytest.importorskip("zarr")
pytestmark = pytest.mark.unit
ORDER = [1, 2, 0]


def _write(
    folder: Path,
    pixels: np.ndarray,
    *,
    version: str = "0.4",
    axes: str = "cyx",
    unit: str | None = "micrometer",
    scale_um: float = 0.5,
    translation: tuple[float, float] | None = None,
    labels: tuple[str, ...] | None = ("CD45", "DAPI", "CK"),
    **options,
) -> Path:
    """An image with two levels; the second is of another size, so that reading it would be seen."""
    space = [{"name": a, "type": "space", **({"unit": unit} if unit else {})} for a in "zyx" if a in axes]
    other = [{"name": a, "type": "time" if a == "t" else "channel"} for a in "tc" if a in axes]
    steps: list[dict] = [{"type": "scale", "scale": [scale_um if a in "yx" else 1.0 for a in axes]}]
    if translation is not None:
        shift = dict(zip("xy", translation, strict=True))
        steps.append({"type": "translation", "translation": [shift.get(a, 0.0) for a in axes]})
    half = [{"type": "scale", "scale": [2 * scale_um if a in "yx" else 1.0 for a in axes]}]
    datasets = [
        {"path": "0", "coordinateTransformations": steps},
        {"path": "1", "coordinateTransformations": half},
    ]
    attributes: dict = {"multiscales": [{"version": version, "axes": other + space, "datasets": datasets}]}
    if labels is not None:
        attributes["omero"] = {"channels": [{"label": label, "color": "FFFFFF"} for label in labels]}
    folder.mkdir(parents=True)
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))
        options.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
    else:
        content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {**attributes, "version": version}}}
        (folder / "zarr.json").write_text(json.dumps(content))
    for name, part in (("0", pixels), ("1", pixels[..., ::2, ::2])):
        zarr.create_array(
            str(folder / name), data=np.ascontiguousarray(part), zarr_format=2 if version == "0.4" else 3, **options
        )
    return folder


def _open(path: Path, panel: Panel | None, size_um: float | None = None) -> Cartridge:
    return ome_zarr.open_cartridge(path, load_platform("ome_zarr"), panel, size_um)


def _flags(cartridge: Cartridge) -> set[str]:
    return {note.flag for note in cartridge.notes}


VARIANTS = {
    "0.4": {"version": "0.4", "chunks": (1, 32, 32)},
    "0.5": {"version": "0.5", "chunks": (3, 64, 50)},
    "sharded": {"version": "0.5", "chunks": (1, 16, 16), "shards": (1, 64, 64)},
    "uncompressed": {"version": "0.5", "chunks": (1, 32, 32), "compressors": None},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_small_image_is_one_frame(tmp_path: Path, panel: Panel, random_counts, variant: str) -> None:
    pixels = random_counts(3, 70, 90)
    path = _write(tmp_path / "slide.ome.zarr", pixels, **VARIANTS[variant])
    assert ome_zarr.recognises(path)
    cartridge = _open(path, panel)
    assert cartridge.name == "slide"
    assert [(frame.number, frame.row, frame.column) for frame in cartridge.frames] == [(1, 0, 0)]
    assert (cartridge.pixel_size_um, cartridge.panel.bit_depth) == (0.5, 12)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45")
    assert cartridge.notes == ()
    assert np.array_equal(cartridge.read(0), pixels[ORDER])


@pytest.mark.parametrize("axes", ["tczyx", "cyx", "czyx"])
def test_axes_of_length_one(tmp_path: Path, panel: Panel, random_counts, axes: str) -> None:
    pixels = random_counts(3, 20, 30)
    shape = tuple({"c": 3, "y": 20, "x": 30}.get(axis, 1) for axis in axes)
    cartridge = _open(_write(tmp_path / "a.zarr", pixels.reshape(shape), axes=axes), panel)
    assert np.array_equal(cartridge.read(0), pixels[ORDER])


def test_a_large_image_is_cut(tmp_path: Path, panel: Panel, random_counts) -> None:
    pixels = random_counts(3, 20, 5000)
    cartridge = _open(_write(tmp_path / "a.zarr", pixels, chunks=(1, 20, 512)), panel)
    assert (cartridge.rows, cartridge.columns) == (1, 3)
    assert cartridge.frame_width_px == 1667
    assert [frame.x_um for frame in cartridge.frames] == [0, 833.5, 1667]
    joined = np.concatenate([cartridge.read(index) for index in range(3)], axis=2)
    assert np.array_equal(joined[:, :, :5000], pixels[ORDER])
    assert _flags(cartridge) == {"padded_border"}


@pytest.mark.parametrize(("unit", "scale"), [("nanometer", 500.0), ("millimeter", 0.0005), ("micrometer", 0.5)])
def test_units(tmp_path: Path, panel: Panel, random_counts, unit: str, scale: float) -> None:
    path = _write(tmp_path / "a.zarr", random_counts(3, 8, 9), unit=unit, scale_um=scale)
    assert _open(path, panel).pixel_size_um == pytest.approx(0.5)


def test_several_images_are_frames(tmp_path: Path, panel: Panel, random_counts) -> None:
    pixels = random_counts(3, 20, 60)
    for number in (1, 2, 10):
        column = {1: 0, 2: 1, 10: 3}[number]
        part = pixels[:, :, column * 15 : column * 15 + 15]
        _write(tmp_path / "scan" / f"f{number}.zarr", part, translation=(100 + column * 7.5, 7.0))
    assert ome_zarr.recognises(tmp_path / "scan")
    cartridge = _open(tmp_path / "scan", panel)
    assert [(frame.number, frame.column) for frame in cartridge.frames] == [(1, 0), (2, 1), (10, 3)]
    assert [frame.x_um for frame in cartridge.frames] == pytest.approx([0, 7.5, 22.5], abs=1e-6)
    assert [(frame.row, frame.column) for frame in cartridge.missing] == [(0, 2)]
    assert np.array_equal(cartridge.read(2), pixels[ORDER, :, 45:])


def test_a_damaged_image_among_several(tmp_path: Path, panel: Panel, random_counts) -> None:
    for number in range(3):
        _write(tmp_path / f"f{number}.zarr", random_counts(3, 20, 15), translation=(number * 7.5, 0.0))
    (tmp_path / "f1.zarr" / ".zattrs").write_text("{")
    cartridge = _open(tmp_path, panel)
    assert [(frame.number, frame.column) for frame in cartridge.frames] == [(0, 0), (2, 2)]
    assert _flags(cartridge) >= {"unreadable_file"}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("damage", [b"", b"\x00\x01nonsense"])
def test_a_damaged_chunk_is_an_error(tmp_path: Path, panel: Panel, random_counts, variant: str, damage: bytes) -> None:
    path = _write(tmp_path / "a.zarr", random_counts(3, 70, 90), **VARIANTS[variant])
    cartridge = _open(path, panel)
    chunks = [file for file in (path / "0").rglob("*") if file.is_file() and file.name.isdigit()]
    chunks[0].write_bytes(damage)
    with pytest.raises(FrameError, match=r"zero bytes|cannot be read as Zarr"):
        cartridge.read(0)


def test_chunks_that_are_not_stored_are_noted(tmp_path: Path, panel: Panel, random_counts) -> None:
    path = _write(tmp_path / "a.zarr", random_counts(3, 64, 64), chunks=(1, 32, 32))
    (path / "0" / "2" / "0" / "1").unlink()
    cartridge = _open(path, panel)
    assert _flags(cartridge) == {"chunks_not_stored"}
    assert "1 of its chunks" in cartridge.notes[0].message


def test_what_cannot_be_opened(tmp_path: Path, panel: Panel, random_counts) -> None:
    pixels = random_counts(3, 8, 9)
    cases = {
        "--pixel-size-um": {"unit": None},
        "does not name its channels": {"labels": None},
        "another number of channels": {"labels": ("DAPI", "CK")},
        "not known: Cy3": {"labels": ("CD45", "DAPI", "CK"), "relabel": "Cy3"},
        "several sections": {"axes": "zcyx", "pixels": np.zeros((2, 3, 8, 9), np.uint16)},
        "contradict the array": {"axes": "czyx"},
        "uint8 or uint16": {"pixels": pixels.astype(np.float32)},
    }
    for number, (message, options) in enumerate(cases.items()):
        relabel = options.pop("relabel", None)
        path = _write(tmp_path / f"{number}.zarr", options.pop("pixels", pixels), **options)
        if relabel:
            file = path / ".zattrs"
            file.write_text(file.read_text().replace('"CK"', f'"{relabel}"'))
        with pytest.raises(CartridgeError, match=message):
            _open(path, panel)
    with pytest.raises(CartridgeError, match="--panel"):
        _open(_write(tmp_path / "b.zarr", pixels), None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"datasets"', '"data"'),
        ('"path": "0"', '"path": "../0"'),
        ('"path": "0"', '"path": 0'),
        ('"path": "0"', '"path": "7"'),
        ('"type": "scale"', '"type": "affine"'),
        ('"scale": [1.0, 0.5, 0.5]', '"scale": [0.5, 0.5]'),
        ('"scale": [1.0, 0.5, 0.5]', '"scale": [1.0, 0.5, 0.7]'),
        ('"scale": [1.0, 0.5, 0.5]', '"scale": [1.0, 0.0, 0.0]'),
        ('"scale": [1.0, 0.5, 0.5]', '"scale": "0.5"'),
        ('"name": "x"', '"name": "u"'),
        ('[{"version"', '{"version"'),
    ],
)
def test_wrong_metadata(tmp_path: Path, panel: Panel, random_counts, before: str, after: str) -> None:
    path = _write(tmp_path / "a.zarr", random_counts(3, 8, 9))
    text = (path / ".zattrs").read_text()
    assert before in text
    (path / ".zattrs").write_text(text.replace(before, after, 1))
    with pytest.raises(CartridgeError, match=r"a\.zarr"):
        _open(path, panel)


def test_folders_that_are_no_images(tmp_path: Path, panel: Panel) -> None:
    assert not ome_zarr.recognises(tmp_path)
    (tmp_path / ".zattrs").write_text('{"plate": {}}')
    assert not ome_zarr.recognises(tmp_path)
    (tmp_path / "file").touch()
    assert not ome_zarr.recognises(tmp_path / "file")
    with pytest.raises(CartridgeError, match="holds no OME-Zarr image"):
        _open(tmp_path, panel)


def test_hidden_folders_are_skipped(tmp_path: Path, panel: Panel, random_counts) -> None:
    for number, name in enumerate(("f1.zarr", "f2.zarr", ".f3.zarr")):
        _write(tmp_path / name, random_counts(3, 20, 15), translation=(number * 7.5, 0.0))
    cartridge = _open(tmp_path, panel)
    assert [frame.number for frame in cartridge.frames] == [1, 2]
    for name in ("f1.zarr", "f2.zarr"):
        (tmp_path / name).rename(tmp_path / f".{name}")
    assert not ome_zarr.recognises(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path, panel: Panel) -> None:
    (tmp_path / "a.zarr").touch()
    with pytest.raises(CartridgeError, match="is no folder") as caught:
        _open(tmp_path / "a.zarr", panel)
    assert "zarr.json" in str(caught.value.fix)


def test_an_unreadable_image_is_not_said_to_be_counted(tmp_path: Path, panel: Panel, random_counts) -> None:
    for number in range(2):
        _write(tmp_path / f"f{number}.zarr", random_counts(3, 20, 15), translation=(number * 7.5, 0.0))
    (tmp_path / "f1.zarr" / ".zattrs").write_text("{")
    cartridge = _open(tmp_path, panel)
    assert cartridge.missing == ()
    assert "could not be counted" in next(n.message for n in cartridge.notes if n.flag == "unreadable_file")


def test_the_name_of_a_relative_folder(
    tmp_path: Path, panel: Panel, random_counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_write(tmp_path / "slide9.ome.zarr", random_counts(3, 20, 15)))
    assert _open(Path(), panel).name == "slide9"
