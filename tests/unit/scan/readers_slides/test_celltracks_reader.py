"""The CellTracks reader: frames, their places and their channels, on files made by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from celltracks_files import (
    PLATFORM,
    H,
    W,
    flags_of,
    make_page,
    open_folder,
    write_pages,
)

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.scan.readers.celltracks import recognises

pytestmark = pytest.mark.unit


def test_channels_stand_in_panel_order_and_in_counts(folder: Path) -> None:
    cartridge = open_folder(folder)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "marker1")
    assert (cartridge.panel.bit_depth, cartridge.pixel_size_um, cartridge.name) == (12, 0.64, "171651.1.2")
    counts = cartridge.read(2)
    assert counts.dtype == np.uint16
    assert counts.shape == (4, H, W)
    for image, page in zip(counts, (1, 2, 0, 3), strict=True):  # DNA, CK, CD45, FITC among the pages
        expected = 100 + make_page(3, page).astype(float) / 65535 * 1900
        np.testing.assert_allclose(image, expected, atol=0.5)
    assert flags_of(cartridge) == []


def test_frames_stand_in_a_serpentine(folder: Path) -> None:
    cartridge = open_folder(folder)
    assert [frame.number for frame in cartridge.frames] == [1, 2, 3, 4, 8, 7, 6, 5, 9, 10, 11, 12]
    frame = cartridge.frames[5]
    assert (frame.number, frame.row, frame.column) == (7, 1, 1)
    assert frame.x_um == pytest.approx(W * 0.64)
    assert frame.y_um == pytest.approx(H * 0.64)
    expected = 100 + make_page(7, 1).astype(float) / 65535 * 1900
    np.testing.assert_allclose(cartridge.read(5)[0], expected, atol=0.5)


def test_rim_is_the_platforms(folder: Path) -> None:
    assert open_folder(folder).rim_px == round(60 / 0.64)


def test_frames_are_read_in_threads(folder: Path) -> None:
    cartridge = open_folder(folder)
    alone = [cartridge.read(index) for index in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(cartridge.read, [*range(12)] * 3))
    for index, counts in enumerate(together):
        np.testing.assert_array_equal(counts, alone[index % 12])


def test_missing_frames_are_named(folder: Path) -> None:
    for number in (7, 12):
        (folder / f"171651_{number:03}.tif").unlink()
    cartridge = open_folder(folder)
    assert [frame.number for frame in cartridge.missing] == [7, 12]
    assert (cartridge.missing[0].row, cartridge.missing[0].column) == (1, 1)
    assert len(cartridge.frames) == 10
    assert "2 frames are missing (7, 12)" in cartridge.notes[0].message
    assert (cartridge.rows, cartridge.columns) == (3, 4)


def test_a_cartridge_without_a_frame_that_can_be_read_is_refused(folder: Path) -> None:
    for file in folder.glob("*.tif"):
        file.write_bytes(b"")
    assert recognises(folder)
    with pytest.raises(CartridgeError, match="no frame that can be read"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("name", "message"), [("other_001.tif", "frame 1 twice"), ("171651_000.tif", "number 0"), ("x13.tif", "13")]
)
def test_numbers_that_cannot_be_are_refused(folder: Path, name: str, message: str) -> None:
    write_pages(folder / name, [make_page(1, page) for page in range(4)])
    with pytest.raises(CartridgeError, match=message):
        open_folder(folder)


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CartridgeError, match="holds no frame"):
        open_folder(tmp_path)


def test_frames_may_stand_in_a_folder_inside(folder: Path) -> None:
    inner = folder / "processed"
    inner.mkdir()
    for file in folder.glob("*.tif"):
        file.rename(inner / file.name)
    assert recognises(folder)
    assert len(open_folder(folder).frames) == 12
    assert open_folder(folder).name == "171651.1.2"


def test_recognition(folder: Path, tmp_path: Path) -> None:
    assert recognises(folder)
    assert not recognises(folder / "171651.xml")
    other = tmp_path / "other"
    other.mkdir()
    write_pages(other / "Tile000001.tif", [make_page(1, 0)])
    write_pages(other / "DAPI-X000-Y000.tif", [make_page(1, 0)] * 4)
    write_pages(other / "slide1.ome.tif", [make_page(1, 0)] * 4)
    assert not recognises(other)
    write_pages(other / "picture_1.tif", [make_page(1, 0)])
    assert not recognises(other)  # one page
    write_pages(other / "picture_1.tif", [make_page(1, 0)] * 4, limits=None)
    assert not recognises(other)  # no tags, no record, another camera
    write_pages(other / "picture_1.tif", [make_page(1, 0)] * 4)
    assert recognises(other)


def test_a_first_frame_that_was_saved_anew_costs_itself_alone(folder: Path) -> None:
    first = min(folder.glob("*.tif"))
    tifffile.imwrite(first, np.zeros((H, W), np.uint16))
    assert recognises(folder)
    cartridge = open_folder(folder)
    with pytest.raises(FrameError, match="other"):
        cartridge.read(0)
    assert cartridge.read(1).shape == (4, H, W)


def test_users_pixel_size_wins_with_a_note(folder: Path) -> None:
    cartridge = open_folder(folder, pixel_size_um=0.645)
    assert (cartridge.pixel_size_um, flags_of(cartridge)) == (0.645, [])
    cartridge = open_folder(folder, pixel_size_um=0.5)
    assert cartridge.panel.pixel_size_um == 0.5
    assert flags_of(cartridge) == ["pixel_size_differs"]
    assert cartridge.frames[1].x_um == W * 0.5


def test_no_pixel_size_at_all_is_refused(folder: Path) -> None:
    with pytest.raises(CartridgeError, match="--pixel-size-um"):
        open_folder(folder, platform=replace(PLATFORM, pixel_size_um=None))


def test_opening_twice_gives_the_same(folder: Path) -> None:
    first, second = open_folder(folder), open_folder(folder)
    assert replace(first, read_pixels=second.read_pixels) == second
