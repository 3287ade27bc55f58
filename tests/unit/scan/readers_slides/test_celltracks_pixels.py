"""Pixels of CellTracks frames: the stretch undone, frames unlike the others refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from celltracks_files import (
    H,
    W,
    flags_of,
    make_page,
    open_folder,
    record_xml,
    write_frames,
    write_pages,
)

from ctcnet.errors import CartridgeError, FrameError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("full_scale", [255, 4095, 65535])
def test_full_scale_that_a_page_reaches_is_certain(tmp_path: Path, full_scale: int) -> None:
    write_frames(tmp_path, full_scale=full_scale)
    (tmp_path / "a.xml").write_text(record_xml())
    cartridge = open_folder(tmp_path)
    assert flags_of(cartridge) == []
    counts = cartridge.read(0)
    assert (counts.min(), counts.max(), counts.dtype) == (100, 2000, np.uint16)


def test_full_scale_that_no_page_reaches_is_flagged(tmp_path: Path) -> None:
    write_frames(tmp_path, full_scale=3000)
    (tmp_path / "a.xml").write_text(record_xml())
    cartridge = open_folder(tmp_path)
    assert flags_of(cartridge) == ["uncertain_scale"]
    assert "4095" in cartridge.notes[0].message
    assert cartridge.read(0).max() == round(100 + 3000 / 4095 * 1900)


def test_tags_are_found_by_number_not_by_place(tmp_path: Path) -> None:
    tags = [(754, "H", 1, 7, True), (755, "H", 1, 10, True), (756, "H", 1, 20, True), (757, "H", 1, 9000, True)]
    for number in range(1, 13):
        with tifffile.TiffWriter(tmp_path / f"{number}.tif") as tif:
            for page in range(4):
                tif.write(make_page(number, page), photometric="minisblack", metadata=None, extratags=tags)
    (tmp_path / "a.xml").write_text(record_xml())
    counts = open_folder(tmp_path).read(0)
    assert (counts.min(), counts.max()) == (10, 20)


def test_limits_above_32767_carry_an_offset(tmp_path: Path) -> None:
    write_frames(tmp_path, limits=(32768 + 100, 32768 + 2000))
    (tmp_path / "a.xml").write_text(record_xml())
    counts = open_folder(tmp_path).read(0)
    assert (counts.min(), counts.max()) == (100, 2000)


def test_stored_values_that_all_carry_the_offset_lose_it(tmp_path: Path) -> None:
    for number in range(1, 13):
        write_pages(tmp_path / f"{number}.tif", [make_page(number, page, 4095) + np.uint16(32768) for page in range(4)])
    (tmp_path / "a.xml").write_text(record_xml())
    cartridge = open_folder(tmp_path)
    counts = cartridge.read(0)
    assert flags_of(cartridge) == []
    assert (counts.min(), counts.max()) == (100, 2000)
    write_pages(tmp_path / "1.tif", [make_page(1, page, 4095) for page in range(4)])
    with pytest.raises(FrameError, match="not stored like the other frames"):
        cartridge.read(0)


def test_an_even_page_is_its_lower_limit(folder: Path) -> None:
    cartridge = open_folder(folder)
    write_pages(folder / "171651_001.tif", [np.zeros((H, W), np.uint16)] * 4, limits=(7, 7))
    assert (cartridge.read(0) == 7).all()


def test_absent_tags_are_noted_and_values_are_counts(tmp_path: Path) -> None:
    write_frames(tmp_path, full_scale=4000, limits=None)
    (tmp_path / "a.xml").write_text(record_xml())
    cartridge = open_folder(tmp_path)
    assert flags_of(cartridge) == ["no_stretch_limits"]
    assert cartridge.panel.bit_depth == 12
    np.testing.assert_array_equal(cartridge.read(0)[0], make_page(1, 1, 4000))


@pytest.mark.parametrize(("full_scale", "bits"), [(255, 8), (4095, 12), (60000, 16)])
def test_depth_of_pixels_without_tags_is_seen(tmp_path: Path, full_scale: int, bits: int) -> None:
    write_frames(tmp_path, full_scale=full_scale, limits=None)
    (tmp_path / "a.xml").write_text(record_xml())
    assert open_folder(tmp_path).panel.bit_depth == bits


def test_a_frame_stored_in_another_way_is_refused(folder: Path) -> None:
    cartridge = open_folder(folder)
    write_pages(folder / "171651_001.tif", [make_page(1, page) for page in range(4)], limits=None)
    with pytest.raises(FrameError, match="tags 755 and 756"):
        cartridge.read(0)
    write_pages(folder / "171651_001.tif", [make_page(1, page) for page in range(4)], limits=(2000, 100))
    with pytest.raises(FrameError, match="stretch cannot be undone"):
        cartridge.read(0)
    write_pages(folder / "171651_001.tif", [make_page(1, page) for page in range(4)], limits=(0, 5000))
    with pytest.raises(FrameError, match="counts that the camera cannot give"):
        cartridge.read(0)
    assert cartridge.read(1).max() == 2000


def test_stored_values_beyond_the_full_scale_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, full_scale=4095)
    (tmp_path / "a.xml").write_text(record_xml())
    cartridge = open_folder(tmp_path)
    write_pages(tmp_path / "171651_001.tif", [make_page(1, page, 5000) for page in range(4)])
    with pytest.raises(FrameError, match="stored values up to 4095"):
        cartridge.read(0)


def test_limits_appear_in_only_some_frames(tmp_path: Path) -> None:
    write_frames(tmp_path, full_scale=4000, limits=None)
    (tmp_path / "a.xml").write_text(record_xml())
    cartridge = open_folder(tmp_path)
    write_pages(tmp_path / "171651_001.tif", [make_page(1, page, 4000) for page in range(4)])
    with pytest.raises(FrameError, match="no limits of a stretch"):
        cartridge.read(0)


@pytest.mark.parametrize("compression", ["lzw", "deflate"])
def test_compressed_pages_are_read(folder: Path, compression: str) -> None:
    uncompressed = open_folder(folder).read(0)
    write_pages(folder / "171651_001.tif", [make_page(1, page) for page in range(4)], compression=compression)
    np.testing.assert_array_equal(open_folder(folder).read(0), uncompressed)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_frame_is_an_error_of_that_frame_only(folder: Path, share: float) -> None:
    for number in (1, 6, 12):
        file = folder / f"171651_{number:03}.tif"
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
    cartridge = open_folder(folder)
    assert (cartridge.frame_height_px, cartridge.frame_width_px) == (H, W)
    failed = {}
    for index, frame in enumerate(cartridge.frames):
        try:
            cartridge.read(index)
        except FrameError as error:
            failed[frame.number] = Path(error.where or "").name
    assert failed == {number: f"171651_{number:03}.tif" for number in (1, 6, 12)}


def test_a_frame_that_lacks_its_last_bytes_is_called_truncated(folder: Path) -> None:
    file = folder / "171651_001.tif"
    cartridge, content = open_folder(folder), file.read_bytes()
    with tifffile.TiffFile(file) as tif:
        end = max(
            offset + count
            for page in tif.pages
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
    file.write_bytes(content[: end - 10])
    with pytest.raises(FrameError, match="is truncated"):
        cartridge.read(0)


@pytest.mark.parametrize(
    "pages",
    [
        [np.zeros((H, W + 2), np.uint16)] * 4,
        [np.zeros((H, W), np.uint16)] * 3,
        [np.zeros((H, W), np.uint8)] * 4,
        [np.zeros((H, W), np.uint16)] * 3 + [np.zeros((H, 8), np.uint16)],
        [np.zeros((H, W), np.float32)] * 4,
    ],
    ids=["size", "pages", "depth", "mixed", "float"],
)
@pytest.mark.parametrize("number", [1, 5])
def test_a_frame_unlike_the_others_is_refused(folder: Path, pages: list[np.ndarray], number: int) -> None:
    write_pages(folder / f"171651_{number:03}.tif", pages)
    cartridge = open_folder(folder)
    index = next(i for i, frame in enumerate(cartridge.frames) if frame.number == number)
    with pytest.raises(FrameError):
        cartridge.read(index)
    assert sum(cartridge.read(i).shape == (4, H, W) for i in range(12) if i != index) == 11


def test_frames_of_another_kind_have_no_say_in_how_pixels_are_stored(tmp_path: Path) -> None:
    write_frames(tmp_path, full_scale=4095)
    (tmp_path / "a.xml").write_text(record_xml())
    write_pages(tmp_path / "171651_001.tif", [np.full((H + 1, W), 65535, np.uint16)] * 4)
    cartridge = open_folder(tmp_path)
    assert (flags_of(cartridge), cartridge.metadata["stored_full_scale"]) == ([], 4095)
    assert cartridge.read(1).max() == 2000


def test_all_channels_have_a_say_in_how_pixels_are_stored(tmp_path: Path) -> None:
    for number in range(1, 13):
        dim = [make_page(number, page, 3000) for page in range(3)]
        write_pages(tmp_path / f"171651_{number:03}.tif", [*dim, make_page(number, 3, 4095)])
    (tmp_path / "a.xml").write_text(record_xml())
    assert flags_of(open_folder(tmp_path)) == []


def test_pixels_that_cannot_be_read_anywhere_are_refused(folder: Path) -> None:
    for number in range(1, 13):
        write_pages(
            folder / f"171651_{number:03}.tif", [make_page(number, page) for page in range(4)], compression="lzw"
        )
        content = bytearray((folder / f"171651_{number:03}.tif").read_bytes())
        with tifffile.TiffFile(folder / f"171651_{number:03}.tif") as tif:
            places = [
                (offset, tif.pages[page].databytecounts[0])
                for page in range(4)
                for offset in tif.pages[page].dataoffsets
            ]
        for offset, count in places:
            content[offset : offset + count] = bytes(count)
        (folder / f"171651_{number:03}.tif").write_bytes(content)
    with pytest.raises(CartridgeError, match="whose pixels can be read"):
        open_folder(folder)


def test_pages_whose_0_is_white_are_refused(folder: Path) -> None:
    cartridge = open_folder(folder)
    with tifffile.TiffWriter(folder / "171651_001.tif") as tif:
        for page in range(4):
            tif.write(make_page(1, page), photometric="miniswhite", metadata=None, contiguous=False)
    with pytest.raises(FrameError, match="MINISWHITE"):
        cartridge.read(0)
