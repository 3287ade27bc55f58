"""CellTracks cartridges made by hand from what is known of the format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers.celltracks import open_cartridge

H, W = 24, 32
"""Height and width of the frames."""
PLATFORM = load_platform("celltracks")
LIMITS = (100, 2000)


def make_page(number: int, page: int, full_scale: int = 65535) -> np.ndarray:
    """Noise that reaches the full scale, other in every page."""
    pixels = np.random.default_rng((number, page)).integers(0, full_scale, (H, W), endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, full_scale
    return pixels.astype(np.uint8 if full_scale == 255 else np.uint16)


def write_pages(path: Path, pages: list[np.ndarray], limits: tuple[int, int] | None = LIMITS, **options) -> None:
    """A frame's file: one TIFF page for each channel, with the limits of its stretch in tags 755 and 756."""
    tags = [] if limits is None else [(755, "H", 1, limits[0], True), (756, "H", 1, limits[1], True)]
    with tifffile.TiffWriter(path) as tif:
        for page in pages:
            tif.write(page, photometric="minisblack", metadata=None, contiguous=False, extratags=tags, **options)


def write_frames(folder: Path, numbers=range(1, 13), full_scale: int = 65535, limits=LIMITS) -> None:
    """Files of frames of four pages."""
    for number in numbers:
        pages = [make_page(number, page, full_scale) for page in range(4)]
        write_pages(folder / f"171651_{number:03}.tif", pages, limits)


def record_xml(
    rows=3, columns=4, x=W, y=H, filters=("CD45-APC", "DNA", "CK-PE", "FITC"), events="", root="archive"
) -> str:
    """The cartridge's XML; `filters` name the pages."""
    names = "".join(f"<record><filtername>{name}</filtername></record>" for name in filters)
    return (
        f'<?xml version="1.0"?>\n<!DOCTYPE {root}>\n<{root}><runs><record><numrows>{rows}</numrows>'
        f"<numcols>{columns}</numcols><camxsize>{x}</camxsize><camysize>{y}</camysize></record></runs>"
        f"<test_filters>{names}</test_filters><events>{events}</events></{root}>"
    )


def event_xml(frame: int, location: str, assigned: str = "true") -> str:
    """An event of the operator's in the XML."""
    return (
        f"<record><rid>1</rid><framenum>{frame}</framenum><numselected>1</numselected>"
        f"<assigned>{assigned}</assigned><location>{location}</location></record>"
    )


def open_folder(folder: Path, platform=PLATFORM, panel=None, pixel_size_um=None) -> Cartridge:
    """The cartridge, as the reader opens it."""
    return open_cartridge(folder, platform, panel, pixel_size_um)


def flags_of(cartridge: Cartridge) -> list[str]:
    """Flags of a cartridge's notes."""
    return [note.flag for note in cartridge.notes]
