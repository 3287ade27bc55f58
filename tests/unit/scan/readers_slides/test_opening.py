"""Which reader opens what, and what is said where none does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.errors import CartridgeError, SettingError
from ctcnet.panel import load_panel
from ctcnet.scan.readers.opening import LAYOUTS, open_cartridge

pytestmark = pytest.mark.unit


def _write_tiles(folder: Path) -> None:
    for channel in range(3):
        pixels = np.full((10, 12), channel, np.uint16)
        tifffile.imwrite(folder / f"Tile{1 + channel * 2304:06}.tif", pixels, photometric="minisblack")


def _write_axioscan(folder: Path) -> None:
    for name in ("DAPI", "AF488", "AF555", "AF647"):
        tifffile.imwrite(folder / f"{name}-X000-Y000.tif", np.zeros((40, 40), np.uint16), photometric="minisblack")


def test_the_layout_is_recognised(tmp_path: Path) -> None:
    _write_tiles(tmp_path)
    cartridge = open_cartridge(tmp_path)
    assert (cartridge.layout, cartridge.platform, cartridge.name) == ("bzscanner", "bzscanner", tmp_path.name)


def test_a_path_as_text_is_taken(tmp_path: Path) -> None:
    _write_axioscan(tmp_path)
    assert open_cartridge(str(tmp_path)).layout == "axioscan"


def test_two_layouts_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    _write_tiles(tmp_path)
    _write_axioscan(tmp_path)
    with pytest.raises(CartridgeError, match="bzscanner, axioscan") as caught:
        open_cartridge(tmp_path)
    assert "--layout" in str(caught.value)
    assert open_cartridge(tmp_path, layout="axioscan").layout == "axioscan"
    assert open_cartridge(tmp_path, layout=" BZScanner ").layout == "bzscanner"
    assert open_cartridge(tmp_path, platform="axioscan").layout == "axioscan"


def test_an_unknown_layout_lists_what_is_looked_for(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"picture{number}.png").touch()
    with pytest.raises(CartridgeError, match="layout that is not known") as caught:
        open_cartridge(tmp_path)
    assert all(name in str(caught.value.expected) for name in LAYOUTS)
    assert "picture0.png" in str(caught.value.found)
    assert "2 more" in str(caught.value.found)
    with pytest.raises(CartridgeError, match=r"the file picture0\.png"):
        open_cartridge(tmp_path / "picture0.png")


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CartridgeError, match="does not exist"):
        open_cartridge(tmp_path / "absent")
    with pytest.raises(CartridgeError, match="empty folder"):
        open_cartridge(tmp_path)


def test_wishes_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    _write_tiles(tmp_path)
    with pytest.raises(SettingError, match="unknown layout 'zeiss'"):
        open_cartridge(tmp_path, layout="zeiss")
    with pytest.raises(SettingError, match="axioscan by --layout, bzscanner by the platform file"):
        open_cartridge(tmp_path, layout="axioscan", platform="bzscanner")
    with pytest.raises(SettingError, match="folder by --pattern"):
        open_cartridge(tmp_path, layout="axioscan", pattern="{frame}_{channel}.tif")
    with pytest.raises(SettingError, match="neither a YAML file nor"):
        open_cartridge(tmp_path, platform="zeiss")


@pytest.mark.parametrize("size_um", [0, -1, 0.05, 5, 1000, float("nan"), float("inf")])
def test_an_impossible_pixel_size_is_refused(tmp_path: Path, size_um: float) -> None:
    _write_tiles(tmp_path)
    with pytest.raises(CartridgeError, match="--pixel-size-um"):
        open_cartridge(tmp_path, pixel_size_um=size_um)


def test_panel_and_pixel_size_of_the_user_are_used(tmp_path: Path) -> None:
    _write_axioscan(tmp_path)
    cartridge = open_cartridge(tmp_path, panel=load_panel("axioscan"), pixel_size_um=0.7)
    assert (cartridge.pixel_size_um, cartridge.panel.pixel_size_um) == (0.7, 0.7)
    assert "pixel_size_differs" in [note.flag for note in cartridge.notes]


def test_a_platform_without_a_panel_asks_for_one(tmp_path: Path) -> None:
    _write_axioscan(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text("name: own\nlayout: axioscan\npixel_size_um: 0.5\n")
    with pytest.raises(CartridgeError, match="--panel"):
        open_cartridge(tmp_path, platform=own)


def test_frames_of_one_number_are_refused(tmp_path: Path) -> None:
    for column in range(3):
        for name in ("DAPI", "CK", "CD45", "marker1"):
            file = tmp_path / f"{1 + column // 2}_r0_c{column}_{name}.tif"
            tifffile.imwrite(file, np.zeros((10, 12), np.uint16), photometric="minisblack")
    panel, pattern = load_panel("cellsearch4"), "{frame}_r{row}_c{column}_{channel}.tif"
    with pytest.raises(CartridgeError, match="several frames of one number") as caught:
        open_cartridge(tmp_path, panel=panel, pixel_size_um=0.6, pattern=pattern)
    assert "2 frames of number 1" in str(caught.value.found)
    for file in tmp_path.glob("1_r0_c1_*"):
        file.rename(tmp_path / file.name.replace("1_", "3_", 1))
    assert len(open_cartridge(tmp_path, panel=panel, pixel_size_um=0.6, pattern=pattern).frames) == 3
