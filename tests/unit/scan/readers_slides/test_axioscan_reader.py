"""The Axioscan reader, on files made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers.axioscan import open_cartridge, recognises

pytestmark = pytest.mark.unit

_SIZE = 100
_CHANNELS = ("DAPI", "AF488", "AF555", "AF647")
_PLATFORM = load_platform("axioscan")
_YAML = """!<csi_images.csi_scans.Scan>
slide_id: A1
scanner_id: axioscan7_0
pixel_size_um: {um}
tile_width_px: {size}
tile_height_px: {size}
tile_x_offset_px: 4
tile_overlap_proportion: 0.1
channels:
- !<csi_images.csi_scans.Scan.Channel>
  name: DAPI
  exposure_ms: 1.0
roi:
- !<csi_images.csi_scans.Scan.ROI>
  tile_rows: {rows}
  tile_cols: {cols}
"""


def _pixels(row: int, column: int, channel: int, size: int = _SIZE) -> np.ndarray:
    return np.full((size, size), 1000 * channel + 10 * row + column, np.uint16)


def _write(folder: Path, rows=range(2), columns=range(3), channels=_CHANNELS, size: int = _SIZE) -> None:
    for channel, name in enumerate(channels):
        for row in rows:
            for column in columns:
                path = folder / f"{name}-X{column:03}-Y{row:03}.tif"
                tifffile.imwrite(path, _pixels(row, column, channel, size), photometric="minisblack")


def _write_yaml(folder: Path, rows=2, cols=3, size=_SIZE, um=0.652) -> None:
    (folder / "scan.yaml").write_text(_YAML.format(rows=rows, cols=cols, size=size, um=um))


def _open(folder: Path, platform=_PLATFORM, panel=None, pixel_size_um=None) -> Cartridge:
    return open_cartridge(folder, platform, panel, pixel_size_um)


def _flags(cartridge: Cartridge) -> list[str]:
    return [note.flag for note in cartridge.notes]


def test_tiles_stand_in_rows_and_overlap(tmp_path: Path) -> None:
    _write(tmp_path)
    _write_yaml(tmp_path)
    cartridge = _open(tmp_path)
    assert cartridge.panel.markers == ("DAPI", "vimentin", "CK", "CD45")
    assert [frame.number for frame in cartridge.frames] == [0, 1, 2, 3, 4, 5]
    frame = cartridge.frames[5]
    assert (frame.row, frame.column) == (1, 2)
    assert (frame.x_um, frame.y_um) == (pytest.approx(2 * 90 * 0.652), pytest.approx(90 * 0.652))
    assert (cartridge.overlap_x_px, cartridge.overlap_y_px) == (10, 10)
    np.testing.assert_array_equal(cartridge.read(5), np.stack([_pixels(1, 2, channel) for channel in range(4)]))
    assert (cartridge.missing, _flags(cartridge), cartridge.panel.bit_depth) == ((), [], 16)


def test_without_scan_yaml_the_platforms_overlap_is_taken(tmp_path: Path) -> None:
    _write(tmp_path)
    cartridge = _open(tmp_path)
    assert _flags(cartridge) == ["no_record"]
    assert (cartridge.overlap_x_px, cartridge.pixel_size_um) == (20, 0.652)
    assert cartridge.frames[1].x_um == pytest.approx(80 * 0.652)
    assert cartridge.frames[3].number == 3


@pytest.mark.parametrize("with_yaml", [True, False])
def test_tiles_exported_without_overlap_touch(tmp_path: Path, with_yaml: bool) -> None:
    size = 90 if with_yaml else 2020
    _write(tmp_path, rows=[0], columns=[0, 1], size=size)
    if with_yaml:
        _write_yaml(tmp_path, rows=1, cols=2)
    cartridge = _open(tmp_path)
    assert "overlap_removed" in _flags(cartridge)
    assert cartridge.overlap_x_px == 0
    assert cartridge.frames[1].x_um == pytest.approx(size * 0.652)


def test_a_part_of_a_scan_keeps_the_scanners_numbers(tmp_path: Path) -> None:
    _write(tmp_path, rows=[3, 4], columns=[5, 6])
    for name in _CHANNELS:
        (tmp_path / f"{name}-X006-Y003.tif").unlink()
    (tmp_path / "DAPI-X005-Y004.tif").unlink()
    _write_yaml(tmp_path, rows=17, cols=43)
    cartridge = _open(tmp_path)
    assert [frame.number for frame in cartridge.frames] == [3 * 43 + 5, 4 * 43 + 6]
    assert [frame.number for frame in cartridge.missing] == [3 * 43 + 6, 4 * 43 + 5]
    assert _flags(cartridge) == ["partial_scan", "missing_frames", "incomplete_frame"]
    assert "2 of 731 tiles" in cartridge.notes[0].message


def test_pixel_size_of_the_file_wins_over_the_platforms_with_a_note(tmp_path: Path) -> None:
    _write(tmp_path)
    _write_yaml(tmp_path, um=0.325)
    cartridge = _open(tmp_path)
    assert (cartridge.pixel_size_um, _flags(cartridge)) == (0.325, ["pixel_size_differs"])
    assert "0.325" in cartridge.notes[0].message
    assert _open(tmp_path, pixel_size_um=0.5).pixel_size_um == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_YAML.format(rows=1, cols=3, size=_SIZE, um=0.652), "1 rows of 3"),
        (_YAML.format(rows=2, cols=3, size=120, um=0.652), "120 x 120 px"),
        (_YAML.format(rows=2, cols=3, size=_SIZE, um=-1), "pixel_size_um"),
        (_YAML.format(rows="two", cols=3, size=_SIZE, um=1), "tile_rows"),
        ("roi: [", "not valid YAML"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
        ("- 1", "no mapping"),
        ("roi: []", "no region"),
        ("roi: [{tile_rows: 2}]", "no channels"),
    ],
)
def test_scan_yaml_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    _write(tmp_path)
    (tmp_path / "scan.yaml").write_text(text)
    with pytest.raises(CartridgeError, match=message):
        _open(tmp_path)


def test_channels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, channels=("DAPI", "AF488", "AF555"))
    with pytest.raises(CartridgeError, match="missing: CD45"):
        _open(tmp_path)
    _write(tmp_path, channels=(*_CHANNELS, "AF750"))
    with pytest.raises(CartridgeError, match="not known: AF750"):
        _open(tmp_path)
    assert _flags(_open(tmp_path, replace(_PLATFORM, ignorable=("af750",)))) == ["channel_ignored", "no_record"]


def test_a_damaged_tile_is_an_error_of_that_frame_only(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "DAPI-X000-Y000.tif").write_bytes(b"")
    tifffile.imwrite(tmp_path / "AF647-X001-Y000.tif", np.zeros((_SIZE, _SIZE, 3), np.uint8), photometric="rgb")
    cartridge = _open(tmp_path)
    with pytest.raises(FrameError, match="DAPI-X000-Y000"):
        cartridge.read(0)
    with pytest.raises(FrameError, match="no camera image"):
        cartridge.read(1)
    assert cartridge.read(2).shape == (4, _SIZE, _SIZE)


def test_a_tile_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "DAPI-X000-Y000.tiff").touch()
    with pytest.raises(CartridgeError, match="twice"):
        _open(tmp_path)


def test_recognition(tmp_path: Path) -> None:
    (tmp_path / "DAPI-X00-Y000.tif").touch()
    assert not recognises(tmp_path)
    with pytest.raises(CartridgeError, match="holds no tile"):
        _open(tmp_path)
    (tmp_path / "AF-X555-X000-Y000.tif").touch()
    assert recognises(tmp_path)
    assert not recognises(tmp_path / "AF-X555-X000-Y000.tif")
