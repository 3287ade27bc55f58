"""The BZScanner reader: tiles, their places and numbers, on files made by hand and on the real slide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bzscanner_files import PLATFORM, H, W, flags_of, open_folder, tile_pixels, write_tiles
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ctcnet.errors import CartridgeError
from ctcnet.panel import load_panel
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers.bzscanner import open_cartridge, recognises
from ctcnet.scan.readers.bzscanner_tiles import TileNumbers
from ctcnet.scan.readers.frame_grid import FrameGrid

pytestmark = pytest.mark.unit

SLIDE = Path(__file__).parents[5] / "shared" / "data" / "blood_slide"


def test_tiles_stand_in_a_serpentine_and_channels_by_name(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    cartridge = open_folder(tmp_path)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "BF", "FITC")
    assert [frame.number for frame in cartridge.frames] == [1, 2, 3, 4, 8, 7, 6, 5, 9, 10, 11, 12]
    counts = cartridge.read(4)  # number 8 is tile 7, first of the second row
    assert counts.dtype == np.uint16
    np.testing.assert_array_equal(counts, np.stack([tile_pixels(7, channel) for channel in range(5)]))
    assert (cartridge.frames[4].row, cartridge.frames[4].column) == (1, 0)
    assert (cartridge.frames[4].x_um, cartridge.frames[4].y_um) == (0, pytest.approx(H * 0.591))
    assert cartridge.panel.bit_depth == 16
    assert (flags_of(cartridge), cartridge.missing) == ([], ())


def test_channels_are_those_of_the_panel(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    cartridge = open_folder(tmp_path, panel=load_panel("hdsca4"))
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "FITC")
    assert flags_of(cartridge) == ["channel_ignored"]
    np.testing.assert_array_equal(cartridge.read(0)[3], tile_pixels(0, 4))


def test_a_part_of_a_scan_is_noted_and_only_holes_are_missing(tmp_path: Path) -> None:
    write_tiles(tmp_path, tiles=[2, 3, 5, 6])
    cartridge = open_folder(tmp_path)
    assert [frame.number for frame in cartridge.frames] == [3, 4, 7, 6]
    assert [(frame.number, frame.row, frame.column) for frame in cartridge.missing] == [(5, 1, 3)]
    assert flags_of(cartridge) == ["partial_scan", "missing_frames"]
    assert "4 of 12 tiles" in cartridge.notes[0].message


@pytest.mark.parametrize("tile", [0, 4, 11])
def test_a_tile_without_a_channel_is_missing(tmp_path: Path, tile: int) -> None:
    write_tiles(tmp_path)
    (tmp_path / f"Tile{1 + tile + 12:06}.tif").unlink()
    cartridge = open_folder(tmp_path)
    assert [frame.number for frame in cartridge.missing] == [tile + 1]
    assert len(cartridge.frames) == 11
    assert [note.frame for note in cartridge.notes if note.flag == "incomplete_frame"] == [tile + 1]


def test_a_channel_without_a_role_may_be_absent_and_one_with_a_role_may_not(tmp_path: Path) -> None:
    write_tiles(tmp_path, channels=[0, 1, 2])
    cartridge = open_folder(tmp_path)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45")
    assert flags_of(cartridge) == ["channel_absent", "channel_absent"]
    with pytest.raises(CartridgeError, match="missing: FITC"):
        open_folder(tmp_path, panel=load_panel("hdsca4"))


def test_no_tile_with_all_channels_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path, tiles=range(6), channels=[0, 1])
    write_tiles(tmp_path, tiles=range(6, 12), channels=[2])
    with pytest.raises(CartridgeError, match="no frame with all its channels"):
        open_folder(tmp_path)


def test_slideinfo_states_grid_steps_and_settings(tmp_path: Path) -> None:
    write_tiles(tmp_path, tiles=range(6), per_channel=6)
    (tmp_path / "slideinfo.txt").write_text(
        f"SLIDEID=A1\nROWS=2\nCOLS=3\nXSTEPSIZE={(W - 3) * 0.591}\nYSTEPSIZE={(H - 2) * 0.591}\n"
        "DAPI=1,100,2\nTRITC=1,50.5,4\nBF=0,0,0\ngain_applied=0\n"
    )
    cartridge = open_folder(tmp_path)
    assert [frame.number for frame in cartridge.frames] == [1, 2, 3, 6, 5, 4]
    assert (cartridge.overlap_x_px, cartridge.overlap_y_px) == (3, 2)
    assert cartridge.frames[1].x_um == pytest.approx((W - 3) * 0.591)
    assert cartridge.step_y_um == pytest.approx((H - 2) * 0.591)
    assert flags_of(cartridge) == ["gain_not_applied"]
    assert cartridge.metadata["channel_settings"] == {
        "DAPI": {"exposure_ms": 100, "gain": 2},
        "TRITC": {"exposure_ms": 50.5, "gain": 4},
    }


@pytest.mark.parametrize(
    ("steps", "overlap", "flags"),
    [
        ((H * 0.591, W * 0.591), (0, 0), []),  # the slide stands upright
        ((W * 0.591 + 0.3, H * 0.591), (0, 0), []),
        ((W * 0.4, H * 0.4), (0, 0), ["step_size_unused"]),
        ((9000, 9000), (0, 0), ["step_size_unused"]),
    ],
)
def test_steps_are_used_only_where_they_fit(tmp_path: Path, steps, overlap, flags) -> None:
    write_tiles(tmp_path)
    (tmp_path / "slideinfo.txt").write_text(f"XSTEPSIZE={steps[0]}\nYSTEPSIZE={steps[1]}\n")
    cartridge = open_folder(tmp_path)
    assert (cartridge.overlap_x_px, cartridge.overlap_y_px) == overlap
    assert flags_of(cartridge) == flags


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ROWS=many", "ROWS"),
        ("ROWS=2.5", "ROWS"),
        ("ROWS=0", "ROWS"),
        ("ROWS=3", "the grid"),
        ("XSTEPSIZE=nan\nYSTEPSIZE=1", "XSTEPSIZE"),
        ("XSTEPSIZE=5", "YSTEPSIZE"),
        ("XSTEPSIZE=5\nYSTEPSIZE=-1", "YSTEPSIZE"),
        ("DAPI=1,long,2", "DAPI"),
        ("\0\1=\2", "says nothing"),
    ],
)
def test_slideinfo_that_is_wrong_is_refused(tmp_path: Path, text: str, key: str) -> None:
    write_tiles(tmp_path)
    (tmp_path / "slideinfo.txt").write_text(text)
    with pytest.raises(CartridgeError, match=key):
        open_folder(tmp_path)


def test_numbers_beyond_the_scan_are_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_tiles(tmp_path, tiles=[60], channels=[0])
    with pytest.raises(CartridgeError, match="Tile000061"):
        open_folder(tmp_path)
    (tmp_path / "Tile000061.tif").rename(tmp_path / "Tile000000.tif")
    with pytest.raises(CartridgeError, match="Tile000000"):
        open_folder(tmp_path)


def test_a_platform_without_a_grid_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    with pytest.raises(CartridgeError, match="size of its scan"):
        open_folder(tmp_path, replace(PLATFORM, tiles_per_channel=13))


def test_a_tile_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    Image.fromarray(np.zeros((H, W), np.uint8)).save(tmp_path / "Tile000003.jpg")
    with pytest.raises(CartridgeError, match=r"Tile000003\.jpg and Tile000003\.tif"):
        open_folder(tmp_path)
    (tmp_path / "Tile000003.tif").unlink()
    with pytest.raises(CartridgeError, match="as JPEG and as TIFF"):
        open_folder(tmp_path)


def test_tiles_may_stand_in_the_folder_that_the_software_makes(tmp_path: Path) -> None:
    inner = tmp_path / "proc"
    inner.mkdir()
    write_tiles(inner)
    (tmp_path / "slideinfo.txt").write_text("gain_applied=0")
    assert recognises(tmp_path)
    assert flags_of(open_folder(tmp_path)) == ["gain_not_applied"]


def test_recognition(tmp_path: Path) -> None:
    for name in ("Tile1.tif", "Tile000001.png", "MyTile000001.tif", ".Tile000001.tif", "Tile000001.tif.part"):
        (tmp_path / name).touch()
    assert not recognises(tmp_path)
    with pytest.raises(CartridgeError, match="holds no tile"):
        open_folder(tmp_path)
    (tmp_path / "tile000001.TIFF").touch()
    assert recognises(tmp_path)
    assert not recognises(tmp_path / "tile000001.TIFF")
    with pytest.raises(CartridgeError, match="missing: CK, CD45"):
        open_folder(tmp_path)


def test_a_whole_slide_is_opened_by_a_few_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for channel in range(5):
        for tile in range(2304):
            (tmp_path / f"Tile{1 + tile + channel * 2304:06}.tif").touch()
    write_tiles(tmp_path, tiles=[0], per_channel=2304)
    opened: list[str] = []
    read = tifffile.TiffFile.__init__

    def counted(self: tifffile.TiffFile, file: str | Path, *rest: Any, **options: Any) -> None:
        opened.append(str(file))
        read(self, file, *rest, **options)

    monkeypatch.setattr(tifffile.TiffFile, "__init__", counted)
    cartridge = open_folder(tmp_path, load_platform("bzscanner"))
    assert 1 <= len(opened) <= 16  # of 11,520
    assert (len(cartridge.frames), cartridge.rows, cartridge.columns) == (2304, 96, 24)


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.data())
def test_places_and_scan_order_are_each_others_inverse(rows: int, columns: int, serpentine: bool, data) -> None:
    grid = FrameGrid(rows, columns, serpentine, 10.0, 20.0)
    index = data.draw(st.integers(0, rows * columns - 1))
    frame = grid.frame(index + 1, index)
    assert (0 <= frame.row < rows, 0 <= frame.column < columns) == (True, True)
    assert grid.index_at(frame.row, frame.column) == index
    assert (frame.x_um, frame.y_um) == (10.0 * frame.column, 20.0 * frame.row)
    if index:
        before = grid.frame(index, index - 1)
        near = abs(frame.row - before.row) + abs(frame.column - before.column) == 1
        assert near if serpentine else frame.row - before.row in (0, 1)


@given(st.integers(1, 5000), st.integers(1, 6), st.integers(-10, 40_000))
def test_numbers_are_one_plus_tile_plus_channel_times_tiles(per_channel: int, channels: int, number: int) -> None:
    place = TileNumbers(tuple("abcdef"[:channels]), per_channel).place(number)
    if 1 <= number <= per_channel * channels:
        assert place is not None
        assert 1 + place[1] + place[0] * per_channel == number
        assert 0 <= place[1] < per_channel
    else:
        assert place is None


@pytest.mark.skipif(not SLIDE.is_dir(), reason="the shared real images are not there")
def test_the_real_slide() -> None:
    cartridge = open_cartridge(SLIDE, load_platform("bzscanner"), None, None)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "FITC")
    assert (cartridge.panel.bit_depth, cartridge.pixel_size_um) == (8, 0.591)
    assert [(frame.number, frame.row, frame.column) for frame in cartridge.frames] == [
        (number, 0, number - 1) for number in range(1, 6)
    ]
    assert cartridge.missing == ()
    assert "5 of 2304 tiles" in next(note.message for note in cartridge.notes if note.flag == "partial_scan")
    counts = cartridge.read(2)
    for image, number in zip(counts, (3, 2307, 4611, 9219), strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(SLIDE / f"Tile{number:06}.jpg")))


def test_numbers_of_another_count_of_tiles_are_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path, tiles=range(10), per_channel=10)  # numbers 1 to 50; with 12 assumed, FITC has 2 of 12
    with pytest.raises(CartridgeError, match="do not fit the assumed size") as caught:
        open_folder(tmp_path)
    assert "10 tiles in each of 5 channels" in str(caught.value.found)
    assert "slideinfo.txt" in str(caught.value.fix)
    (tmp_path / "Tile000007.tif").unlink()
    with pytest.raises(CartridgeError, match="do not fit the assumed size") as caught:
        open_folder(tmp_path)
    assert "2 frames with the files of all channels, 10 without" in str(caught.value.found)
    (tmp_path / "slideinfo.txt").write_text("ROWS=2\nCOLS=5\n")
    cartridge = open_folder(tmp_path)
    assert [frame.number for frame in cartridge.missing] == [7]
    np.testing.assert_array_equal(cartridge.read(0), np.stack([tile_pixels(0, channel) for channel in range(5)]))
    (tmp_path / "slideinfo.txt").unlink()
    stated = replace(PLATFORM, grid_rows=2, grid_columns=5, tiles_per_channel=10)
    assert [frame.number for frame in open_folder(tmp_path, stated).missing] == [7]


def test_1000_tiles_of_5_channels_do_not_pass_for_a_part_of_2304(tmp_path: Path) -> None:
    for number in range(1, 5001):
        (tmp_path / f"Tile{number:06}.tif").touch()
    with pytest.raises(CartridgeError, match="do not fit the assumed size") as caught:
        open_folder(tmp_path, load_platform("bzscanner"))
    assert "1000 tiles in each of 5 channels" in str(caught.value.found)


@pytest.mark.parametrize(
    ("tiles", "per_channel", "what"),
    [(range(100), 100, "missing: CK, CD45"), (range(5), 2400, "no frame with all its channels")],
)
def test_tiles_that_do_not_fit_the_assumed_number_name_slideinfo(tmp_path: Path, tiles, per_channel, what) -> None:
    for tile in tiles:
        for channel in range(5):
            (tmp_path / f"Tile{1 + tile + channel * per_channel:06}.tif").touch()
    with pytest.raises(CartridgeError, match=what) as caught:
        open_folder(tmp_path, load_platform("bzscanner"))
    assert "2304 tiles of each channel are assumed" in str(caught.value.fix)
    assert "slideinfo.txt" in str(caught.value.fix)
    (tmp_path / "slideinfo.txt").write_text("ROWS=96\nCOLS=24\n")
    with pytest.raises(CartridgeError, match=what) as caught:
        open_folder(tmp_path, load_platform("bzscanner"))
    assert "slideinfo.txt" not in str(caught.value)


def test_most_files_of_a_channel_lost_is_opened_once_the_grid_is_confirmed(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    for tile in range(3, 12):
        (tmp_path / f"Tile{1 + tile + 12:06}.tif").unlink()
    with pytest.raises(CartridgeError, match="do not fit the assumed size"):
        open_folder(tmp_path)
    (tmp_path / "slideinfo.txt").write_text("ROWS=3\nCOLS=4\n")
    cartridge = open_folder(tmp_path)
    assert (len(cartridge.frames), len(cartridge.missing)) == (3, 9)
