"""Pixels of BZScanner tiles: depths, ranges, tiles unlike the others refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bzscanner_files import PLATFORM, H, W, open_folder, tile_pixels, write_tiles
from PIL import Image

from ctcnet.errors import CartridgeError, FrameError

pytestmark = pytest.mark.unit


def test_jpeg_tiles_are_8_bit(tmp_path: Path) -> None:
    write_tiles(tmp_path, ending=".jpg")
    cartridge = open_folder(tmp_path)
    counts = cartridge.read(0)
    assert (cartridge.panel.bit_depth, counts.dtype) == (8, np.uint8)
    assert counts.mean(axis=(1, 2)).tolist() == pytest.approx([0, 20, 40, 60, 80], abs=1)


def test_8_bit_tiff_tiles_are_8_bit(tmp_path: Path) -> None:
    for channel in range(5):
        tifffile.imwrite(tmp_path / f"Tile{1 + 12 * channel:06}.tif", np.full((H, W), channel, np.uint8))
    assert open_folder(tmp_path).panel.bit_depth == 8


def test_grey_stored_as_colour_jpeg_is_read_and_colour_is_not(tmp_path: Path) -> None:
    write_tiles(tmp_path, ending=".jpg")
    grey = np.random.default_rng(1).integers(0, 256, (H, W), dtype=np.uint8)
    Image.fromarray(grey).convert("RGB").save(tmp_path / "Tile000001.jpg", quality=100, subsampling=0)
    cartridge = open_folder(tmp_path)
    np.testing.assert_allclose(cartridge.read(0)[0], grey, atol=2)
    colour = np.stack([grey, grey, 255 - grey], axis=-1)
    Image.fromarray(colour).save(tmp_path / "Tile000001.jpg", quality=95)
    with pytest.raises(FrameError, match="colour picture"):
        cartridge.read(0)
    Image.fromarray(np.zeros((H, W, 4), np.uint8), mode="CMYK").save(tmp_path / "Tile000001.jpg")
    with pytest.raises(FrameError, match="no grey image"):
        cartridge.read(0)


def test_ranges_beside_jpeg_tiles_are_undone(tmp_path: Path) -> None:
    for channel in range(5):
        stem = tmp_path / f"Tile{1 + 12 * channel:06}"
        Image.fromarray(np.full((H, W), 255 if channel else 0, np.uint8)).save(stem.with_suffix(".jpg"), quality=100)
        stem.with_suffix(".tags").write_text("Software=x\nPreservedMinValue=0.1\nPreservedMaxValue=0.5\n")
    cartridge = open_folder(tmp_path)
    counts = cartridge.read(0)
    assert (cartridge.panel.bit_depth, counts.dtype) == (16, np.uint16)
    assert counts[:, 0, 0].tolist() == [round(0.1 * 65535)] + [round(0.5 * 65535)] * 4
    for text, message in (
        ("PreservedMinValue=0.1", "does not state the range"),
        ("PreservedMinValue=0.5\nPreservedMaxValue=0.1", "impossible range"),
        ("PreservedMinValue=a\nPreservedMaxValue=0.1", "does not state the range"),
    ):
        (tmp_path / "Tile000001.tags").write_text(text)
        with pytest.raises(FrameError, match=message):
            cartridge.read(0)
    (tmp_path / "Tile000001.tags").unlink()
    with pytest.raises(FrameError, match="range of its image is not known"):
        cartridge.read(0)


@pytest.mark.parametrize("ending", [".tif", ".jpg"])
@pytest.mark.parametrize("share", [0, 0.3, 0.8])
def test_a_truncated_tile_is_an_error_of_that_frame_only(tmp_path: Path, ending: str, share: float) -> None:
    write_tiles(tmp_path, ending=ending)
    for number in (1, 12 + 6):  # first file of all, and a second channel's
        file = tmp_path / f"Tile{number:06}{ending}"
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
    cartridge = open_folder(tmp_path)
    failed = {}
    for index, frame in enumerate(cartridge.frames):
        try:
            assert cartridge.read(index).shape == (5, H, W)
        except FrameError as error:
            failed[frame.number] = Path(error.where or "").name
    assert failed == {1: f"Tile000001{ending}", 6: f"Tile000018{ending}"}


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((H, W - 1), np.uint16), np.zeros((H, W), np.uint8), np.zeros((2, H, W), np.uint16)],
    ids=["size", "depth", "pages"],
)
def test_a_tile_unlike_the_others_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    write_tiles(tmp_path)
    tifffile.imwrite(tmp_path / "Tile000001.tif", pixels, photometric="minisblack", metadata=None)
    cartridge = open_folder(tmp_path)
    with pytest.raises(FrameError, match="not like the other frames"):
        cartridge.read(0)
    assert cartridge.read(1).shape == (5, H, W)


def test_counts_beyond_the_cameras_bits_are_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    cartridge = open_folder(tmp_path, replace(PLATFORM, bit_depth=12))
    assert cartridge.panel.bit_depth == 12
    with pytest.raises(FrameError, match="at most 4095") as caught:
        cartridge.read(11)
    assert "Tile000060.tif" in str(caught.value)


def test_a_picture_whose_0_is_white_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    tifffile.imwrite(tmp_path / "Tile000001.tif", tile_pixels(0, 0), photometric="miniswhite", metadata=None)
    with pytest.raises(FrameError, match="MINISWHITE") as caught:
        open_folder(tmp_path).read(0)
    assert "0 is black" in str(caught.value.expected)
    write_tiles(tmp_path)
    for file in tmp_path.glob("*.tif"):
        tifffile.imwrite(file, tifffile.imread(file), photometric="miniswhite", metadata=None)
    with pytest.raises(CartridgeError, match="MINISWHITE") as caught:
        open_folder(tmp_path)
    assert "not a display picture" in str(caught.value.fix)
