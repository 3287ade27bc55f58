"""Cartridges that are a plain folder of images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ctcnet.errors import CartridgeError, FrameError, SettingError
from ctcnet.panel import Channel, Panel
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import Platform, load_platform
from ctcnet.scan.readers import folder
from ctcnet.scan.readers.plain_image import read_plain_image

pytestmark = pytest.mark.unit
DYES = ("DAPI", "pe", "APC")  # panel order; two by their dye


def _open(
    path: Path, panel: Panel | None, pattern: str | None, platform: Platform | None = None, size_um: float | None = 0.6
) -> Cartridge:
    return folder.open_cartridge(path, platform or load_platform("folder"), panel, size_um, pattern)


def _flags(cartridge: Cartridge) -> list[str]:
    return [note.flag for note in cartridge.notes]


@pytest.fixture
def grid_folder(tmp_path: Path, random_counts):
    """2 x 3 frames, rows from 1, columns from 5, one file for each channel; and the pixels (row, column, C, H, W)."""
    pixels = random_counts(2, 3, 3, 20, 30)
    for row in range(2):
        for column in range(3):
            for place, dye in enumerate(DYES):
                tifffile.imwrite(tmp_path / f"r{row + 1:02}_c{column + 5}_{dye}.tif", pixels[row, column, place])
    return tmp_path, pixels


PATTERN = "r{row}_c{column}_{channel}.tif"


def test_rows_and_columns(grid_folder, panel: Panel) -> None:
    path, pixels = grid_folder
    cartridge = _open(path, panel, PATTERN)
    assert [(f.number, f.row, f.column) for f in cartridge.frames] == [
        (1 + 3 * row + column, row, column) for row in range(2) for column in range(3)
    ]
    assert [f.x_um for f in cartridge.frames] == pytest.approx([0, 18, 36] * 2)
    assert [f.y_um for f in cartridge.frames] == pytest.approx([0] * 3 + [12] * 3)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45")
    assert cartridge.panel.bit_depth == 12
    assert (cartridge.missing, cartridge.notes) == ((), ())
    json.dumps(cartridge.metadata)
    for index, frame in enumerate(cartridge.frames):
        assert np.array_equal(cartridge.read(index), pixels[frame.row, frame.column])


def test_overlap_of_the_platform(grid_folder, panel: Panel) -> None:
    platform = replace(load_platform("folder"), overlap_x_px=4, overlap_y_px=2)
    cartridge = _open(grid_folder[0], panel, PATTERN, platform)
    assert (cartridge.overlap_x_px, cartridge.overlap_y_px) == (4, 2)
    assert cartridge.frames[-1].x_um == pytest.approx(2 * 26 * 0.6)
    assert cartridge.frames[-1].x_um == pytest.approx(2 * cartridge.step_x_um)


def test_lost_files(grid_folder, panel: Panel) -> None:
    path, pixels = grid_folder
    (path / "r01_c6_APC.tif").unlink()
    for dye in DYES:
        (path / f"r02_c5_{dye}.tif").unlink()
    cartridge = _open(path, panel, PATTERN)
    assert [(f.row, f.column) for f in cartridge.frames] == [(0, 0), (0, 2), (1, 1), (1, 2)]
    assert [(f.number, f.row, f.column) for f in cartridge.missing] == [(2, 0, 1), (4, 1, 0)]
    assert _flags(cartridge) == ["missing_frames"] * 2
    assert "apc" in cartridge.notes[1].message
    assert np.array_equal(cartridge.read(1), pixels[0, 2])


@pytest.mark.parametrize("damage", ["zero bytes", "truncated", "another image", "another depth", "colour picture"])
def test_damaged_files(grid_folder, panel: Panel, damage: str) -> None:
    path, pixels = grid_folder
    file = path / "r01_c5_DAPI.tif"
    if damage == "zero bytes":
        file.write_bytes(b"")
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-30])
    elif damage == "another image":
        tifffile.imwrite(file, pixels[0, 0, 0, :-1])
    elif damage == "another depth":
        tifffile.imwrite(file, pixels[0, 0, 0].astype(np.uint8))
    else:
        colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
        tifffile.imwrite(file, colours, photometric="rgb")
    cartridge = _open(path, panel, PATTERN)
    with pytest.raises(FrameError, match="another image" if damage == "another depth" else damage):
        cartridge.read(0)
    assert np.array_equal(cartridge.read(2), pixels[0, 2])


def test_counts_above_the_bit_depth(grid_folder, panel: Panel) -> None:
    path, _ = grid_folder
    tifffile.imwrite(path / "r01_c6_pe.tif", np.full((20, 30), 5000, np.uint16))
    with pytest.raises(FrameError, match="above the camera's bit depth"):
        _open(path, panel, PATTERN).read(1)


def test_frames_by_number_alone_have_no_neighbours(tmp_path: Path, panel: Panel, random_counts) -> None:
    pixels = random_counts(3, 3, 8, 9)
    for number, part in zip((4, 5, 7), pixels, strict=True):
        for place, dye in enumerate(DYES):
            tifffile.imwrite(tmp_path / f"{number}_{dye}.tif", part[place])
    cartridge = _open(tmp_path, panel, "{frame}_{channel}.tif")
    assert [(f.number, f.row, f.column) for f in cartridge.frames] == [(4, 0, 0), (5, 0, 2), (7, 0, 6)]
    assert [(f.number, f.column) for f in cartridge.missing] == [(6, 4)]
    assert _flags(cartridge) == ["positions_unknown", "missing_frames"]
    assert np.array_equal(cartridge.read(2), pixels[2])


@pytest.mark.parametrize(("serpentine", "columns"), [(False, [0, 1, 2, 0, 1, 2]), (True, [0, 1, 2, 2, 1, 0])])
@pytest.mark.parametrize("first", [0, 1])
def test_frames_by_number_on_the_grid_of_a_platform(
    tmp_path: Path, panel: Panel, serpentine: bool, columns: list[int], first: int
) -> None:
    for number in range(first, first + 6):
        for dye in DYES:
            tifffile.imwrite(tmp_path / f"{number}_{dye}.tif", np.full((8, 9), number, np.uint16))
    platform = replace(load_platform("folder"), grid_rows=2, grid_columns=3, serpentine=serpentine)
    cartridge = _open(tmp_path, panel, "{frame}_{channel}.tif", platform)
    places = {f.number: (f.row, f.column) for f in cartridge.frames}
    assert places == {first + n: (n // 3, columns[n]) for n in range(6)}
    assert all((cartridge.read(index) == frame.number).all() for index, frame in enumerate(cartridge.frames))
    assert cartridge.notes == ()
    for dye in DYES:
        tifffile.imwrite(tmp_path / f"{first + 6}_{dye}.tif", np.zeros((8, 9), np.uint16))
    with pytest.raises(CartridgeError, match="outside the grid"):
        _open(tmp_path, panel, "{frame}_{channel}.tif", platform)


def test_files_of_all_channels_that_name_them(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pixels = random_counts(2, 3, 8, 9)
    tifffile.imwrite(tmp_path / "1.tif", pixels[0], imagej=True, metadata={"axes": "CYX", "Labels": list(ome.names)})
    image = ome.image(0, (3, 8, 9), '<TiffData IFD="0" PlaneCount="3"/>')
    ome.write(tmp_path / "2.tif", pixels[1], ome.document(image))
    cartridge = _open(tmp_path, panel, "{frame}.tif")
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45")
    for index in range(2):
        assert np.array_equal(cartridge.read(index), pixels[index][[1, 2, 0]])
    tifffile.imwrite(tmp_path / "2.tif", pixels[1], imagej=True, metadata={"axes": "CYX", "Labels": ["a", "b", "c"]})
    with pytest.raises(FrameError, match="another image"):
        _open(tmp_path, panel, "{frame}.tif").read(1)
    for number in (1, 2):
        tifffile.imwrite(tmp_path / f"{number}.tif", pixels[0], photometric="minisblack")
    with pytest.raises(CartridgeError, match="do not name them"):
        _open(tmp_path, panel, "{frame}.tif")


def test_the_pixel_size_of_the_files_is_taken(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    image = ome.image(0, (3, 8, 9), '<TiffData IFD="0" PlaneCount="3"/>')
    ome.write(tmp_path / "1.tif", random_counts(3, 8, 9), ome.document(image))
    assert _open(tmp_path, panel, "{frame}.tif", size_um=None).pixel_size_um == 0.5
    assert _flags(_open(tmp_path, panel, "{frame}.tif", size_um=0.6))[0] == "pixel_size_differs"


def test_pictures(tmp_path: Path, random_counts) -> None:
    grey = random_counts(20, 30) // 16
    ramp = np.linspace(0, 200, 30).astype(np.uint8)[None].repeat(20, axis=0)
    panel = Panel("two", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial")), 8)
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "1_DAPI.png")
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "1_CK.png")
    cartridge = _open(tmp_path, panel, "{frame}_{channel}.png")
    assert np.array_equal(cartridge.read(0), np.stack([grey, ramp]))
    assert cartridge.panel.bit_depth == 8
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "ramp.jpg", quality=95)
    assert np.abs(read_plain_image(tmp_path / "ramp.jpg").pixels[0].astype(int) - ramp).max() <= 3
    with pytest.raises(FrameError, match="no image of a known kind"):
        read_plain_image(tmp_path / "1.gif")


def test_what_cannot_be_opened(grid_folder, panel: Panel) -> None:
    path, _ = grid_folder
    with pytest.raises(CartridgeError, match="needs a pattern"):
        _open(path, panel, None)
    with pytest.raises(CartridgeError, match="no file that fits") as error:
        _open(path, panel, "{frame}_{channel}.png")
    assert "r01_c5_APC.tif" in str(error.value)
    with pytest.raises(CartridgeError, match="--panel") as error:
        _open(path, None, PATTERN)
    assert "APC, DAPI, pe" in str(error.value)
    with pytest.raises(CartridgeError, match="--pixel-size-um"):
        _open(path, panel, PATTERN, size_um=None)
    with pytest.raises(CartridgeError, match="is no folder"):
        _open(path / "r01_c5_APC.tif", panel, PATTERN)
    with pytest.raises(SettingError, match="unknown placeholder"):
        _open(path, panel, "{tile}.tif")
    (path / "r1_c5_APC.tif").touch()
    with pytest.raises(CartridgeError, match="two files for one channel"):
        _open(path, panel, PATTERN)
    for file in path.iterdir():
        file.write_bytes(b"")
    (path / "r1_c5_APC.tif").unlink()
    with pytest.raises(CartridgeError, match="no image that can be read"):
        _open(path, panel, PATTERN)


def test_a_needed_channel_is_absent(grid_folder, panel: Panel) -> None:
    path, _ = grid_folder
    for file in path.glob("*_pe.tif"):
        file.unlink()
    with pytest.raises(CartridgeError, match="missing: CK"):
        _open(path, panel, PATTERN)


def test_it_is_never_recognised(grid_folder) -> None:
    assert not folder.recognises(grid_folder[0])


def test_the_rim_of_the_platform(grid_folder, panel: Panel) -> None:
    cartridge = _open(grid_folder[0], panel, PATTERN, replace(load_platform("folder"), rim_um=3.0))
    assert cartridge.rim_px == 5
    assert _open(grid_folder[0], panel, PATTERN).rim_px == 0


def _write_numbered(folder_path: Path, numbers: list[int]) -> None:
    for number in numbers:
        for dye in DYES:
            tifffile.imwrite(folder_path / f"{number}_{dye}.tif", np.full((8, 9), number, np.uint16))


def test_a_rim_of_frames_whose_places_are_not_known_is_noted(tmp_path: Path, panel: Panel) -> None:
    _write_numbered(tmp_path, [1, 2])
    cartridge = _open(tmp_path, panel, "{frame}_{channel}.tif", replace(load_platform("folder"), rim_um=3.0))
    assert cartridge.rim_px == 0
    assert _flags(cartridge) == ["positions_unknown", "rim_not_applied"]


@pytest.mark.parametrize(
    ("numbers", "missing", "flags"),
    [
        ([1, 2, 4], [3, 5, 6], ["missing_frames"]),
        ([0, 2, 3], [1, 4, 5], ["missing_frames"]),
        ([2, 3, 5, 6], [1, 4], ["first_number_assumed", "missing_frames"]),
        ([1, 2, 3, 4, 5, 6], [], []),
    ],
)
def test_every_empty_place_of_a_stated_grid_is_missing(
    tmp_path: Path, panel: Panel, numbers: list[int], missing: list[int], flags: list[str]
) -> None:
    _write_numbered(tmp_path, numbers)
    platform = replace(load_platform("folder"), grid_rows=2, grid_columns=3)
    cartridge = _open(tmp_path, panel, "{frame}_{channel}.tif", platform)
    first = min(1, *numbers)
    assert [frame.number for frame in cartridge.missing] == missing
    assert {f.number: (f.row, f.column) for f in (*cartridge.frames, *cartridge.missing)} == {
        first + place: divmod(place, 3) for place in range(6)
    }
    assert _flags(cartridge) == flags
    if "first_number_assumed" in flags:
        assert "assumed to have the number 1" in cartridge.notes[0].message
    if missing:
        assert f"{len(missing)} places of the grid hold no frame" in cartridge.notes[-1].message


def test_the_name_of_a_relative_folder(grid_folder, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid_folder[0])
    assert _open(Path(), panel, PATTERN).name == grid_folder[0].name


def test_hidden_files_are_no_images(grid_folder, panel: Panel) -> None:
    path, _ = grid_folder
    for file in list(path.iterdir()):
        file.rename(path / f"{file.stem.rpartition('_')[2]}_{file.stem.rpartition('_')[0]}.tif")
    (path / "._DAPI_r01_c5.tif").write_bytes(b"resource fork")
    cartridge = _open(path, panel, "{channel}_r{row}_c{column}.tif")
    assert (len(cartridge.frames), cartridge.metadata["file_channels"]) == (6, ["APC", "DAPI", "pe"])


def test_an_image_whose_0_is_white_is_refused(grid_folder, panel: Panel) -> None:
    path, pixels = grid_folder
    tifffile.imwrite(path / "r01_c5_DAPI.tif", pixels[0, 0, 0], photometric="miniswhite")
    cartridge = _open(path, panel, PATTERN)
    with pytest.raises(FrameError, match="inverted picture"):
        cartridge.read(0)
    assert np.array_equal(cartridge.read(1), pixels[0, 1])


def test_every_empty_place_by_row_and_column_of_a_stated_grid_is_missing(grid_folder, panel: Panel) -> None:
    path, pixels = grid_folder  # rows 1 and 2, columns 5 to 7
    platform = replace(load_platform("folder"), grid_rows=3, grid_columns=8)
    cartridge = _open(path, panel, PATTERN, platform)
    assert (cartridge.rows, cartridge.columns) == (3, 8)
    assert [(f.row, f.column) for f in cartridge.frames] == [(r, c) for r in range(2) for c in (4, 5, 6)]
    assert len(cartridge.missing) == 3 * 8 - 6
    assert len({f.number for f in (*cartridge.frames, *cartridge.missing)}) == 24
    assert _flags(cartridge) == ["first_number_assumed", "missing_frames"]
    assert "assumed to have the column 1" in cartridge.notes[0].message
    assert np.array_equal(cartridge.read(0), pixels[0, 0])
    with pytest.raises(CartridgeError, match="outside the grid") as caught:
        _open(path, panel, PATTERN, replace(platform, grid_columns=6))
    assert "column 7" in str(caught.value.found)
