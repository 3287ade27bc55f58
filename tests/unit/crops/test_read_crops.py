"""`read_crops` over every kind of source, pixel sizes, subsets and hashes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.crops import pack_crops, read_crops
from ctcnet.crops.source_kind import check_not_read, images_below
from ctcnet.errors import ImageError, LabelError, ManifestError, OutputError, SettingError, SplitError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel
from ctcnet.resampling import resample_crop

pytestmark = pytest.mark.unit

Make = Callable[..., Path]


def test_manifest_of_tiffs(make_crops: Make, panel3: Panel) -> None:
    manifest = make_crops(6, columns=",cartridge,batch", values=",c1,b1")
    crops = read_crops(manifest, panel3, assumed_pixel_size_um=0.5)
    assert len(crops) == 6
    assert crops.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert set(crops.cartridge) == {"c1"}
    assert not crops.has_levels.any()
    got = crops.read([5, 0, 0], 0.5, 8)
    assert got.shape == (3, 3, 8, 8)
    assert got.dtype == np.uint16
    image = tifffile.imread(manifest.parent / "5.tif")
    np.testing.assert_array_equal(got[0], resample_crop(image, 0.5, 0.5, 8))
    np.testing.assert_array_equal(got[1], got[2])


def test_scale_goes_by_physical_size(make_crops: Make, panel3: Panel) -> None:
    manifest = make_crops(2, columns=",pixel_size_um", values=",0.25")
    crops = read_crops(manifest, panel3)
    image = tifffile.imread(manifest.parent / "1.tif")
    np.testing.assert_array_equal(crops.read([1], 0.5, 4)[0], resample_crop(image, 0.25, 0.5, 4))
    np.testing.assert_array_equal(crops.read([1], None, 4)[0], image[:, 3:7, 4:8])


@pytest.mark.parametrize(
    ("height", "width", "refused"),
    [(64, 64, False), (100, 100, False), (256, 300, False), (257, 256, False), (257, 257, True), (1036, 1384, True)],
)
def test_frame_is_no_crop_by_physical_size(
    tmp_path: Path, panel3: Panel, write_manifest: Make, height: int, width: int, refused: bool
) -> None:
    """64 px at 0.5 um are cut from the centre: a shorter side of more than four times that is refused."""
    np.save(tmp_path / "image.npy", np.zeros((3, height, width), np.uint16))
    crops = read_crops(write_manifest("path,pixel_size_um", "image.npy,0.5"), panel3)
    if not refused:
        assert crops.read([0], 0.5, 64).shape == (1, 3, 64, 64)
        return
    with pytest.raises(ImageError, match="frame") as raised:
        crops.read([0], 0.5, 64)
    assert raised.value.found is not None
    assert raised.value.found.startswith(f"{width} x {height} px, {width / 2:.0f} x {height / 2:.0f} um")
    assert "ctcnet scan" in str(raised.value)
    finer = read_crops(write_manifest("path,pixel_size_um", "image.npy,0.1", name="finer.csv"), panel3)
    assert finer.read([0], 0.5, 64).shape == (1, 3, 64, 64)  # at most 104 um, whatever its number of pixels


def test_float_images_stay_float(tmp_path: Path, panel3: Panel, write_manifest: Make, image3: np.ndarray) -> None:
    np.save(tmp_path / "f.npy", image3.astype(np.float32))
    np.save(tmp_path / "u.npy", image3)
    crops = read_crops(write_manifest("path", "f.npy", "u.npy"), panel3)
    assert crops.read([0], None, 8).dtype == np.float32
    assert crops.read([1], None, 8).dtype == np.uint16
    assert crops.read([0, 1], None, 8).dtype == np.float32


def _ome(path: Path, image: np.ndarray, size_um: float) -> None:
    tifffile.imwrite(
        path, image, ome=True, metadata={"axes": "CYX", "PhysicalSizeX": size_um, "PhysicalSizeY": size_um}
    )


def test_order_of_pixel_sizes(tmp_path: Path, panel3: Panel, write_manifest: Make, image3: np.ndarray) -> None:
    _ome(tmp_path / "o.ome.tif", image3, 0.25)
    np.save(tmp_path / "n.npy", image3)
    manifest = write_manifest("path,pixel_size_um", "o.ome.tif,0.2501", "n.npy,0.4", name="stated.csv")
    bare = write_manifest("path", "o.ome.tif", "n.npy", name="bare.csv")
    fixed = replace(panel3, pixel_size_um=0.6)
    assert read_crops(manifest, fixed, assumed_pixel_size_um=0.5).pixel_sizes().tolist() == [0.2501, 0.4]
    assert read_crops(bare, fixed, assumed_pixel_size_um=0.5).pixel_sizes().tolist() == [0.25, 0.5]
    assert read_crops(bare, fixed).pixel_sizes().tolist() == [0.25, 0.6]
    assert np.isnan(read_crops(bare, panel3).pixel_sizes()).tolist() == [False, True]
    with pytest.raises(ImageError, match=r"n\.npy: has no pixel size[\s\S]*--pixel-size-um"):
        read_crops(bare, panel3).read([1], 0.5, 8)


def test_contradicting_pixel_sizes(tmp_path: Path, panel3: Panel, write_manifest: Make, image3: np.ndarray) -> None:
    _ome(tmp_path / "o.ome.tif", image3, 0.25)
    crops = read_crops(write_manifest("path,pixel_size_um", "o.ome.tif,0.26"), panel3)
    with pytest.raises(ImageError, match="another pixel size"):
        crops.read([0], 0.25, 8)


def test_class_folders(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    for name in ("b/2.npy", "a/deep/1.npy", "a/.hidden.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, image3)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    crops = read_crops(tmp_path, panel3, labelled=True)
    assert crops.path.tolist() == ["a/deep/1.npy", "b/2.npy"]
    assert crops.schema is not None
    assert crops.schema.classes == ("a", "b")
    assert crops.labels.tolist() == [0, 1]
    assert crops.group.tolist() == crops.path.tolist()
    assert "group of its own" in crops.notes[0]
    assert read_crops(tmp_path, panel3).targets is not None
    assert read_crops(tmp_path, panel3, labelled=False).targets is None
    with pytest.raises(LabelError, match="'b' is not in the schema"):
        read_crops(tmp_path, panel3, LabelSchema("s", ("a", "c")))
    np.save(tmp_path / "loose.npy", image3)
    assert read_crops(tmp_path, panel3).targets is None
    with pytest.raises(LabelError, match="beside its class folders"):
        read_crops(tmp_path, panel3, labelled=True)


def test_links_to_folders_are_followed_but_not_round(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    for name in ("elsewhere/b/deep/1.npy", "crops/a/1.npy", "elsewhere/hidden/1.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, image3)
    crops, elsewhere = tmp_path / "crops", tmp_path / "elsewhere"
    (crops / "b").symlink_to(elsewhere / "b")
    (crops / "c").symlink_to(elsewhere / "b")  # the same cells as another class: for check to find, not to leave out
    (crops / ".hidden").symlink_to(elsewhere / "hidden")
    (crops / "a" / "round").symlink_to(crops)
    (elsewhere / "b" / "back").symlink_to(crops / "a")
    (crops / "itself").symlink_to(crops / "itself")
    (crops / "gone").symlink_to(tmp_path / "nowhere")
    read = read_crops(crops, panel3, labelled=True)
    assert read.path.tolist() == [
        *("a/1.npy", "b/back/1.npy", "b/deep/1.npy", "c/back/1.npy", "c/deep/1.npy"),
    ]
    assert read.schema is not None
    assert read.schema.classes == ("a", "b", "c")


@pytest.mark.parametrize("name", ["manifest.csv", "a/1.npy", "link.npy", "linked/1.npy"])
def test_what_a_folder_is_read_from_is_no_output(tmp_path: Path, image3: np.ndarray, name: str) -> None:
    for file in ("crops/a/1.npy", "elsewhere/1.npy", "elsewhere/2.npy", "crops/manifest.csv", "crops/index.parquet"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / file, image3) if file.endswith("npy") else (tmp_path / file).touch()
    crops = tmp_path / "crops"
    (crops / "link.npy").symlink_to(tmp_path / "elsewhere" / "2.npy")
    (crops / "linked").symlink_to(tmp_path / "elsewhere")
    for output in {crops / name, (crops / name).resolve()}:
        with pytest.raises(OutputError, match="is an image" if name.endswith(".npy") else "is also an input"):
            check_not_read(output, crops)
    check_not_read(crops / "index.parquet", crops)  # of no store
    check_not_read(crops / "new.npy", crops)
    check_not_read(crops / "manifest.parquet", crops)


@pytest.mark.parametrize("name", ["store.json", "index.parquet", "crops.npy"])
def test_files_of_a_store_are_no_output(make_crops: Make, panel3: Panel, tmp_path: Path, name: str) -> None:
    crops = read_crops(make_crops(), panel3, assumed_pixel_size_um=0.5)
    store = pack_crops(crops, tmp_path / "store", pixel_size_um=None, crop_size_px=8)
    with pytest.raises(OutputError, match="is also an input"):
        check_not_read(store / name, store)
    (store / "table.parquet").touch()
    check_not_read(store / "table.parquet", store)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_manifest_in_a_folder_says_what_its_crops_are(make_crops: Make, panel3: Panel, labelled: bool) -> None:
    manifest = make_crops()
    (manifest.parent / "loose.npy").write_bytes(b"not listed, so not read")
    found, expected = (read_crops(source, panel3, labelled=labelled) for source in (manifest.parent, manifest))
    assert found.path.tolist() == expected.path.tolist()
    assert found.sha256 == expected.sha256
    assert "manifest.csv" in found.notes[0]


def test_a_folder_with_two_manifests_is_refused(make_crops: Make, panel3: Panel) -> None:
    folder = make_crops().parent
    (folder / "manifest.parquet").write_bytes(b"")
    with pytest.raises(ManifestError, match="more than one manifest"):
        read_crops(folder, panel3)


def test_one_file_per_channel(tmp_path: Path, panel3: Panel, write_manifest: Make, image3: np.ndarray) -> None:
    for marker, plane in zip(panel3.markers, image3, strict=True):
        tifffile.imwrite(tmp_path / f"{marker}_1.tif", plane)
    crops = read_crops(write_manifest("path", "{channel}_1.tif"), panel3)
    np.testing.assert_array_equal(crops.read([0], None, 10)[0], image3[:, :, 1:11])
    (tmp_path / "CK_1.tif").unlink()
    with pytest.raises(ImageError, match="CK_1"):
        read_crops(tmp_path / "manifest.csv", panel3)


def test_subset_reads_its_own_rows(make_crops: Make, panel3: Panel) -> None:
    crops = read_crops(make_crops(), panel3)
    chosen = crops.subset(np.array([4, 1]))
    again = chosen.subset(np.array([False, True]))
    assert again.path.tolist() == ["1.tif"]
    assert again.labels.tolist() == [1]
    np.testing.assert_array_equal(again.read([0], None, 8), crops.read([1], None, 8))
    assert chosen.read(slice(None), None, 8).shape == (2, 3, 8, 8)
    assert chosen.read([], None, 8).shape == (0, 3, 8, 8)


def test_hash_follows_content_alone(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    manifest = make_crops()
    first = read_crops(manifest, panel3)
    assert len(first.sha256) == 64
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in [*tmp_path.glob("*.tif"), manifest]:
        (moved / file.name).write_bytes(file.read_bytes())
    assert read_crops(moved / "manifest.csv", panel3).sha256 == first.sha256
    assert first.subset(slice(3)).sha256 != first.sha256
    text = manifest.read_text()
    (moved / "manifest.csv").write_text(text.replace("0.tif,a", "0.tif,b"))
    assert read_crops(moved / "manifest.csv", panel3).sha256 != first.sha256
    (moved / "manifest.csv").write_text(text)
    (moved / "2.tif").write_bytes((moved / "3.tif").read_bytes())
    assert read_crops(moved / "manifest.csv", panel3).sha256 != first.sha256


@pytest.mark.parametrize(
    ("lines", "error", "problem"),
    [
        (("path,label,group", "0.tif,a,g", "gone.tif,b,g"), ImageError, "gone.tif: there is no such file"),
        (("path,label,group", "0.tif,a,g", "empty.tif,b,g"), ImageError, "zero bytes"),
        (("path,label,group,split", "0.tif,a,g,train", "1.tif,b,g,test"), SplitError, "more than one split"),
        (("path,label", "0.tif,a", "1.tif,b"), ManifestError, "no column group"),
        (("path,label,group",), ManifestError, "empty"),
        (("path,label,group", "0.tif,a,", "1.tif,,g", "2.tif,b,g"), LabelError, "the 1 other problem"),
    ],
)
def test_bad_manifests(
    make_crops: Make,
    panel3: Panel,
    write_manifest: Make,
    lines: tuple[str, ...],
    error: type,
    problem: str,
) -> None:
    folder = make_crops(3).parent
    (folder / "empty.tif").touch()
    with pytest.raises(error, match=problem):
        read_crops(write_manifest(*lines, name="bad.csv"), panel3, labelled=True)


def test_bad_sources(tmp_path: Path, panel3: Panel, make_crops: Make) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(ManifestError, match="no such file or folder"):
        read_crops(tmp_path / "gone.csv", panel3)
    with pytest.raises(ManifestError, match="holds no images"):
        read_crops(tmp_path / "bare", panel3)
    with pytest.raises(SettingError, match="--panel"):
        read_crops(make_crops(), None)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ManifestError, match="neither a file nor a folder"):
        read_crops(tmp_path / "pipe.csv", panel3)
    for size_um in (-1, 0, 1e-9, float("nan")):
        with pytest.raises(SettingError, match="impossible"):
            read_crops(make_crops(), panel3, assumed_pixel_size_um=size_um)


def test_links_out_of_the_folder_to_one_that_holds_it_are_not_followed(tmp_path: Path) -> None:
    inside = tmp_path / "outer" / "crops"
    (inside / "ctc").mkdir(parents=True)
    np.save(inside / "ctc" / "1.npy", np.ones((1, 8, 8), np.uint16))
    np.save(tmp_path / "outer" / "held_out.npy", np.ones((1, 8, 8), np.uint16))
    (inside / "all").symlink_to(tmp_path / "outer", target_is_directory=True)
    assert images_below(inside) == ["ctc/1.npy"]
