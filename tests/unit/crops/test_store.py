"""Packed stores: the same crops as from files, and damage that is noticed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.crops import LabelledCrops, pack_crops, read_crops
from ctcnet.errors import CtcnetError, ImageError, LabelError, ManifestError, OutputError, PanelError, SettingError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel

pytestmark = pytest.mark.unit

Make = Callable[..., Path]
_LEVELS = ",split,cartridge,weight," + ",".join(
    f"{k}_{m}" for k in ("background", "scale") for m in ("DAPI", "CK", "CD45")
)


@pytest.fixture
def packed(make_crops: Make, panel3: Panel, tmp_path: Path) -> tuple[LabelledCrops, Path]:
    manifest = make_crops(135, columns=_LEVELS, values=",train,c,2,1,2,3,10,20,30")
    crops = read_crops(manifest, panel3, assumed_pixel_size_um=0.5)
    return crops, pack_crops(crops, tmp_path / "out" / "store", pixel_size_um=0.4, crop_size_px=8)


def test_store_gives_what_the_files_give(packed: tuple[LabelledCrops, Path]) -> None:
    crops, store = packed
    stored = read_crops(store, None)
    rows = np.array([134, 0, 128, 127, 5])
    np.testing.assert_array_equal(stored.read(rows, 0.4, 8), crops.read(rows, 0.4, 8))
    assert stored.sha256 == crops.sha256 == json.loads((store / "store.json").read_text())["sha256"]
    assert stored.subset(rows).sha256 == crops.subset(rows).sha256
    for name in ("path", "group", "cartridge", "batch", "split", "weight", "background", "scale", "targets"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(crops, name))
    assert stored.schema == crops.schema
    assert stored.panel == crops.panel
    assert (stored.pixel_sizes() == 0.4).all()
    assert stored.has_levels.all()
    assert sorted(file.name for file in store.iterdir()) == ["crops.npy", "index.parquet", "store.json"]


def test_rows_of_a_store_can_be_written_to(packed: tuple[LabelledCrops, Path]) -> None:
    stored = read_crops(packed[1], None)
    before = stored.read([3], 0.4, 8)
    stored.read(slice(None), 0.4, 8)[:] = 7
    np.testing.assert_array_equal(stored.read([3], 0.4, 8), before)


def test_pickled_crops_map_the_file_anew(packed: tuple[LabelledCrops, Path]) -> None:
    stored = read_crops(packed[1], None)
    content = pickle.dumps(stored.source)
    assert len(content) < 40_000 < (packed[1] / "crops.npy").stat().st_size
    np.testing.assert_array_equal(pickle.loads(content).read(np.array([4]), 0.4, 8), stored.read([4], 0.4, 8))


def test_smaller_view_is_cut_and_a_larger_one_refused(packed: tuple[LabelledCrops, Path]) -> None:
    stored = read_crops(packed[1], None)
    np.testing.assert_array_equal(stored.read([1], 0.4, 4), stored.read([1], 0.4, 8)[:, :, 2:6, 2:6])
    assert stored.read([1, 2], 0.8, 4).shape == (2, 3, 4, 4)
    for pixel_size_um, crop_size_px in ((0.4, 12), (0.8, 8)):
        with pytest.raises(ManifestError, match="smaller than the field of view"):
            stored.read([1], pixel_size_um, crop_size_px)


def test_channels_and_classes_go_by_name(packed: tuple[LabelledCrops, Path], panel3: Panel) -> None:
    store = packed[1]
    turned = replace(panel3, channels=panel3.channels[::-1])
    schema = LabelSchema("more", ("c", "b", "a"))
    stored, plain = read_crops(store, turned, schema), read_crops(store, None)
    np.testing.assert_array_equal(stored.read([2], 0.4, 8), plain.read([2], 0.4, 8)[:, ::-1])
    np.testing.assert_array_equal(stored.scale[0], [30, 20, 10])
    assert stored.labels[:2].tolist() == [2, 1]
    with pytest.raises(PanelError, match="missing: CD61; not in the panel: CD45"):
        read_crops(store, replace(panel3, channels=(*panel3.channels[:2], replace(panel3.channels[2], marker="CD61"))))
    with pytest.raises(PanelError, match="bit depth"):
        read_crops(store, replace(panel3, bit_depth=8))
    with pytest.raises(LabelError, match="'b' is not in the schema"):
        read_crops(store, None, LabelSchema("other", ("a", "c")))


def _cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def _append(path: Path, content: bytes) -> None:
    path.write_bytes(path.read_bytes() + content)


def _set_count(store: Path) -> None:
    text = (store / "store.json").read_text()
    (store / "store.json").write_text(text.replace('"count": 135', '"count": 134'))


@pytest.mark.parametrize(
    "damage",
    [
        lambda store: _cut(store / "crops.npy", 5000),
        lambda store: _cut(store / "crops.npy", 10),
        lambda store: (store / "crops.npy").unlink(),
        lambda store: _cut(store / "index.parquet", 300),
        lambda store: (store / "index.parquet").unlink(),
        lambda store: _cut(store / "store.json", 40),
        lambda store: (store / "store.json").write_text("[]"),
        lambda store: (store / "store.json").write_text('{"store_format": 99}'),
        lambda store: (store / "store.json").write_text('{"store_format": 1}'),
        _set_count,
    ],
)
def test_damage_is_one_clear_error(packed: tuple[LabelledCrops, Path], damage: Callable[[Path], None]) -> None:
    damage(packed[1])
    with pytest.raises(ManifestError) as caught:
        read_crops(packed[1], None)
    assert str(packed[1]) in str(caught.value.where)


@pytest.mark.parametrize("name", ["crops.npy", "index.parquet", "store.json"])
@pytest.mark.parametrize("content", [b"\0", b"appended by a copy that went wrong" * 100])
def test_bytes_appended_to_a_file_are_damage_of_that_file(
    packed: tuple[LabelledCrops, Path], name: str, content: bytes
) -> None:
    _append(packed[1] / name, content)
    with pytest.raises(ManifestError, match="pack the images again") as caught:
        read_crops(packed[1], None)
    assert caught.value.where == str(packed[1] / name)


def test_scale_is_the_crops_own_where_they_share_one(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    manifest = make_crops(2, columns=",pixel_size_um", values=",0.3")
    store = pack_crops(read_crops(manifest, panel3), tmp_path / "s", pixel_size_um=None, crop_size_px=8)
    assert read_crops(store, None).pixel_size_um.tolist() == [0.3, 0.3]
    manifest.write_text(manifest.read_text().replace("0.3", "0.31", 1))
    with pytest.raises(ManifestError, match="different pixel sizes"):
        pack_crops(read_crops(manifest, panel3), tmp_path / "t", pixel_size_um=None, crop_size_px=8)
    with pytest.raises(ImageError, match="no pixel size"):
        pack_crops(read_crops(make_crops(2), panel3), tmp_path / "t", pixel_size_um=None, crop_size_px=8)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.full((3, 8, 8), 5000, np.uint16), ImageError),
        (np.full((2, 8, 8), 50, np.uint16), PanelError),
        (np.full((3, 8, 8), np.nan, np.float32), ImageError),
        (np.ones((3, 8, 8), np.float32), ManifestError),
    ],
)
def test_bad_crop_leaves_nothing(
    make_crops: Make, panel3: Panel, tmp_path: Path, image: np.ndarray, error: type[CtcnetError]
) -> None:
    manifest = make_crops(140)
    tifffile.imwrite(tmp_path / "135.tif", image, metadata={"axes": "CYX"}, photometric="minisblack")
    before = sorted(tmp_path.iterdir())
    crops = read_crops(manifest, panel3, assumed_pixel_size_um=0.5)
    with pytest.raises(error):
        pack_crops(crops, tmp_path / "s", pixel_size_um=0.5, crop_size_px=8)
    assert sorted(tmp_path.iterdir()) == before


def test_output_that_exists_or_cannot_be(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    crops = read_crops(make_crops(2), panel3, assumed_pixel_size_um=0.5)
    pack_crops(crops, tmp_path / "s", pixel_size_um=None, crop_size_px=8)
    with pytest.raises(OutputError, match="--overwrite"):
        pack_crops(crops, tmp_path / "s", pixel_size_um=None, crop_size_px=12)
    pack_crops(crops, tmp_path / "s", pixel_size_um=None, crop_size_px=12, overwrite=True)
    assert read_crops(tmp_path / "s", None).read([0], 0.5, 12).shape == (1, 3, 12, 12)
    with pytest.raises(OutputError, match="cannot be written"):
        pack_crops(crops, tmp_path / "manifest.csv" / "s", pixel_size_um=None, crop_size_px=8)
    with pytest.raises(SettingError, match="impossible"):
        pack_crops(crops, tmp_path / "t", pixel_size_um=0.5, crop_size_px=0)


def test_unlabelled_store(make_crops: Make, panel3: Panel, tmp_path: Path, write_manifest: Make) -> None:
    make_crops(2)
    crops = read_crops(write_manifest("path", "0.tif", "1.tif"), panel3, assumed_pixel_size_um=0.5)
    store = pack_crops(crops, tmp_path / "s", pixel_size_um=None, crop_size_px=8)
    assert read_crops(store, None).targets is None
    with pytest.raises(ManifestError, match="without labels"):
        read_crops(store, None, labelled=True)
