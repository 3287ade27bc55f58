"""BZScanner tiles made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers.bzscanner import open_cartridge

H, W = 20, 30
"""Height and width of the tiles."""
ROWS, COLUMNS = 3, 4
PLATFORM = replace(load_platform("bzscanner"), grid_rows=ROWS, grid_columns=COLUMNS, tiles_per_channel=12)


def tile_pixels(tile: int, channel: int) -> np.ndarray:
    """Counts of a tile, other in each of them and in each channel."""
    return (1000 * channel + 10 * tile + np.arange(H * W).reshape(H, W) % 7).astype(np.uint16)


def write_tiles(folder: Path, tiles=range(12), channels=range(5), per_channel: int = 12, ending: str = ".tif") -> None:
    """Files of tiles (numbered from 0) and channels; a JPEG holds one grey."""
    for channel in channels:
        for tile in tiles:
            path = folder / f"Tile{1 + tile + channel * per_channel:06}{ending}"
            if ending == ".tif":
                tifffile.imwrite(path, tile_pixels(tile, channel), photometric="minisblack", metadata=None)
            else:
                Image.fromarray(np.full((H, W), 20 * channel + tile, np.uint8)).save(path, quality=95)


def open_folder(folder: Path, platform=PLATFORM, panel=None, pixel_size_um=None) -> Cartridge:
    """The slide, as the reader opens it."""
    return open_cartridge(folder, platform, panel, pixel_size_um)


def flags_of(cartridge: Cartridge) -> list[str]:
    """Flags of a cartridge's notes."""
    return [note.flag for note in cartridge.notes]
