"""OME-TIFF cartridges."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from ome_tiff_files import ALL, ORDER, flags_of, open_ome_tiff, write_set_of_files

from ctcnet.errors import CartridgeError
from ctcnet.panel import Panel
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers import ome_tiff
from ctcnet.scan.readers.opening import open_cartridge

pytestmark = pytest.mark.unit


def test_recognises(tmp_path: Path) -> None:
    assert not ome_tiff.recognises(tmp_path)
    assert not ome_tiff.recognises(tmp_path / "absent.ome.tif")
    (tmp_path / "a.tif").touch()
    assert not ome_tiff.recognises(tmp_path)
    (tmp_path / "b.OME.TIFF").touch()
    assert ome_tiff.recognises(tmp_path)
    assert ome_tiff.recognises(tmp_path / "b.OME.TIFF")


def test_one_file_for_each_frame(frame_files, panel: Panel) -> None:
    folder, field = frame_files
    cartridge = open_ome_tiff(folder, panel)
    assert [frame.number for frame in cartridge.frames] == [1, 2, 3, 4, 5, 6]
    assert [(frame.row, frame.column) for frame in cartridge.frames] == [(r, c) for r in range(2) for c in range(3)]
    assert [frame.x_um for frame in cartridge.frames] == pytest.approx([0, 18, 36] * 2, abs=1e-6)
    assert [frame.y_um for frame in cartridge.frames] == pytest.approx([0] * 3 + [13] * 3, abs=1e-6)
    assert (cartridge.overlap_x_px, cartridge.overlap_y_px) == (4, 4)
    assert (cartridge.frame_height_px, cartridge.frame_width_px) == (30, 40)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45")
    assert (cartridge.panel.bit_depth, cartridge.pixel_size_um, cartridge.panel.pixel_size_um) == (12, 0.5, 0.5)
    assert cartridge.missing == ()
    assert cartridge.notes == ()
    json.dumps(cartridge.metadata)
    for index, frame in enumerate(cartridge.frames):
        top, left = frame.row * 26, frame.column * 36
        assert np.array_equal(cartridge.read(index), field[ORDER, top : top + 30, left : left + 40])


def test_several_images_in_one_file(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(6, 30, 40)
    images = [
        ome.image(n, (3, 30, 40), f'<TiffData IFD="{3 * n}" PlaneCount="3"/>', position_um=(20.0 * (1 - n), 0.0))
        for n in range(2)
    ]
    path = ome.write(tmp_path / "a.ome.tif", pages, ome.document(*images))
    cartridge = open_ome_tiff(path, panel)
    assert cartridge.name == "a"
    assert [(frame.number, frame.column, frame.x_um) for frame in cartridge.frames] == [(2, 0, 0), (1, 1, 20)]
    assert np.array_equal(cartridge.read(0), pages[3:][ORDER])
    assert np.array_equal(cartridge.read(1), pages[:3][ORDER])


def test_a_set_of_files(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(6, 30, 40)
    write_set_of_files(tmp_path, ome, pages)
    for path in (tmp_path, tmp_path / "i1_c2.ome.tif"):
        cartridge = open_ome_tiff(path, panel)
        assert [frame.number for frame in cartridge.frames] == [1, 2]
        assert np.array_equal(cartridge.read(0), pages[:3][ORDER])
        assert np.array_equal(cartridge.read(1), pages[3:][ORDER])
        assert cartridge.files == tuple(sorted(tmp_path.iterdir()))


def test_metadata_in_a_companion_file(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    data = '<TiffData IFD="0" PlaneCount="3"><UUID FileName="a.ome.tif">urn:uuid:7</UUID></TiffData>'
    (tmp_path / "a.companion.ome").write_text(ome.document(ome.image(0, pages.shape, data)), encoding="utf-8")
    binary = '<OME><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:1"/></OME>'
    path = ome.write(tmp_path / "a.ome.tif", pages, binary)
    cartridge = open_ome_tiff(path, panel)
    assert np.array_equal(cartridge.read(0), pages[ORDER])
    assert cartridge.files == (tmp_path / "a.companion.ome", path)
    (tmp_path / "a.companion.ome").unlink()
    with pytest.raises(CartridgeError, match="keeps its metadata in another file"):
        open_ome_tiff(path, panel)


@pytest.mark.parametrize("options", [{}, {"tile": (256, 256), "compression": "lzw"}])
def test_a_large_pyramid_is_cut_into_frames(tmp_path: Path, panel: Panel, ome, random_counts, options: dict) -> None:
    pages = random_counts(3, 70, 4500)
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        for place, page in enumerate(pages):
            text = ome.document(ome.image(0, pages.shape, ALL)).encode() if place == 0 else None
            common = dict(photometric="minisblack", metadata=None, **options)
            tif.write(page, description=text, subifds=1, **common)
            tif.write(page[::2, ::2].copy(), subfiletype=1, **common)
    cartridge = open_ome_tiff(path, panel)
    assert (cartridge.frame_height_px, cartridge.frame_width_px) == (70, 1500)
    assert [(f.number, f.row, f.column, f.x_um) for f in cartridge.frames] == [
        (1, 0, 0, 0.0),
        (2, 0, 1, 750.0),
        (3, 0, 2, 1500.0),
    ]
    joined = np.concatenate([cartridge.read(index) for index in range(3)], axis=2)
    assert np.array_equal(joined, pages[ORDER])
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(cartridge.read, [0, 1, 2] * 4))
    assert np.array_equal(np.concatenate(again[-3:], axis=2), joined)


def test_a_slide_that_cannot_be_cut_evenly_is_padded_and_says_so(tmp_path: Path, panel: Panel, ome) -> None:
    pages = np.zeros((3, 5, 100_003), np.uint16)
    pages[:, :, -1] = 77
    path = ome.write(tmp_path / "slide.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    cartridge = open_ome_tiff(path, panel)
    columns = cartridge.columns
    right = columns * cartridge.frame_width_px - 100_003
    assert cartridge.metadata["virtual_frames"] == {"rows": 1, "columns": columns, "padding_px": [0, right]}
    assert (right > 0) == ("padded_border" in flags_of(cartridge))
    last = cartridge.read(columns - 1)
    assert last.shape == (3, 5, cartridge.frame_width_px)
    assert (last[:, :, -1 - right :] == 77).all()
    assert (last[:, :, : -1 - right] == 0).all()


def test_pictures_beside_the_scan_are_left_out(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(4, 30, 40)
    label = ome.image(1, (1, 30, 40), '<TiffData IFD="3"/>', names=["x"], name="label image")
    text = ome.document(ome.image(0, (3, 30, 40), ALL), label)
    cartridge = open_ome_tiff(ome.write(tmp_path / "a.ome.tif", pages, text), panel)
    assert len(cartridge.frames) == 1
    assert flags_of(cartridge) == {"pictures_left_out"}


def test_who_states_the_pixel_size(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    path = ome.write(tmp_path / "a.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    assert open_ome_tiff(path, panel, size_um=0.5).notes == ()
    cartridge = open_ome_tiff(path, panel, size_um=0.65)
    assert cartridge.pixel_size_um == 0.65
    assert flags_of(cartridge) == {"pixel_size_differs"}
    bare = ome.image(0, pages.shape, ALL, pixels='Type="uint16"')
    path = ome.write(tmp_path / "b.ome.tif", pages, ome.document(bare))
    with pytest.raises(CartridgeError, match="--pixel-size-um"):
        open_ome_tiff(path, panel)
    assert open_ome_tiff(path, panel, size_um=0.65).pixel_size_um == 0.65


@pytest.mark.parametrize(
    ("pixels", "dtype", "bits", "noted"),
    [
        ('Type="uint16" PhysicalSizeX="0.5"', np.uint16, 12, False),
        ('Type="uint16" PhysicalSizeX="0.5" SignificantBits="12"', np.uint16, 12, False),
        ('Type="uint16" PhysicalSizeX="0.5" SignificantBits="11"', np.uint16, 12, False),
        ('Type="uint16" PhysicalSizeX="0.5" SignificantBits="16"', np.uint16, 16, True),
        ('Type="uint8" PhysicalSizeX="0.5"', np.uint8, 8, True),
    ],
)
def test_bit_depth(tmp_path: Path, panel: Panel, ome, pixels: str, dtype: type, bits: int, noted: bool) -> None:
    pages = np.zeros((3, 8, 9), dtype)
    path = ome.write(tmp_path / "a.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL, pixels=pixels)))
    cartridge = open_ome_tiff(path, panel)
    assert cartridge.panel.bit_depth == bits
    assert cartridge.read(0).dtype == dtype
    assert ("bit_depth_differs" in flags_of(cartridge)) == noted


def test_the_panel_of_a_platform(tmp_path: Path, ome, random_counts) -> None:
    pages = random_counts(4, 30, 40)
    names = ("AF647", "DAPI", "AF488", "AF555")
    text = ome.document(ome.image(0, pages.shape, '<TiffData IFD="0" PlaneCount="4"/>', names=names))
    path = ome.write(tmp_path / "a.ome.tif", pages, text)
    cartridge = open_ome_tiff(path, None, Platform("ours", "ome_tiff", panel="axioscan"))
    assert cartridge.platform == "ours"
    assert cartridge.panel.markers == ("DAPI", "vimentin", "CK", "CD45")
    assert np.array_equal(cartridge.read(0), pages[[1, 2, 3, 0]])


def test_opened_by_what_is_in_the_folder(frame_files, panel: Panel) -> None:
    folder, _ = frame_files
    assert open_cartridge(folder, panel=panel).layout == "ome_tiff"
    by_pattern = open_cartridge(folder, panel=panel, pattern="slide7_f{frame}.ome.tif")
    assert by_pattern.layout == "folder"
    assert np.array_equal(by_pattern.read(3), open_cartridge(folder, panel=panel).read(3))


def test_the_rim_of_the_platform(frame_files, panel: Panel, tmp_path: Path, ome, random_counts) -> None:
    folder, _ = frame_files
    platform = Platform("ours", "ome_tiff", rim_um=3.0)
    assert open_ome_tiff(folder, panel, platform).rim_px == 6
    assert open_ome_tiff(folder, panel).rim_px == 0
    pages = random_counts(3, 30, 40)
    single = ome.write(tmp_path / "one.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    assert open_ome_tiff(single, panel, platform).rim_px == 6


def test_hidden_files_are_skipped(frame_files, panel: Panel) -> None:
    folder, _ = frame_files
    (folder / "._slide7_f001.ome.tif").write_bytes(b"resource fork")
    cartridge = open_ome_tiff(folder, panel)
    assert (len(cartridge.frames), cartridge.notes) == (6, ())
    for file in folder.glob("slide7*"):
        file.unlink()
    assert not ome_tiff.recognises(folder)
    with pytest.raises(CartridgeError, match="holds no OME-TIFF"):
        open_ome_tiff(folder, panel)


def test_the_name_of_a_relative_folder(frame_files, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(frame_files[0])
    assert open_ome_tiff(Path(), panel).name == frame_files[0].name
