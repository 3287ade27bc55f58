"""OME-TIFF cartridges made by hand, and how they are opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import Platform, load_platform
from ctcnet.scan.readers import ome_tiff

ALL = '<TiffData IFD="0" PlaneCount="3"/>'
ORDER = [1, 2, 0]  # DAPI, CK, CD45 among the files' CD45, DAPI, CK


def open_ome_tiff(
    path: Path, panel: Panel | None, platform: Platform | None = None, size_um: float | None = None
) -> Cartridge:
    """The cartridge, as the reader opens it."""
    return ome_tiff.open_cartridge(path, platform or load_platform("ome_tiff"), panel, size_um)


def flags_of(cartridge: Cartridge) -> set[str]:
    """Flags of a cartridge's notes."""
    return {note.flag for note in cartridge.notes}


def write_set_of_files(folder: Path, ome, pages: np.ndarray) -> None:
    """Two images of 3 channels, one file for each channel of each; the XML of the whole set in every file."""
    images = []
    for n in range(2):
        data = "".join(
            f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="i{n}_c{c}.ome.tif">urn:uuid:{n}{c}</UUID>'
            "</TiffData>"
            for c in range(3)
        )
        images.append(ome.image(n, (3, 30, 40), data, position_um=(20.0 * n, 0.0)))
    for n in range(2):
        for c in range(3):
            text = ome.document(*images, uuid=f"urn:uuid:{n}{c}")
            ome.write(folder / f"i{n}_c{c}.ome.tif", pages[3 * n + c][None], text)
