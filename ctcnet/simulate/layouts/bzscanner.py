"""BZScanner slides: one file per tile and channel, numbered through all channels, and slideinfo.txt."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import tifffile
from PIL import Image

from ctcnet.errors import PanelError
from ctcnet.panel import Panel
from ctcnet.simulate.field_grid import FramePlace
from ctcnet.simulate.layouts.layout import FileSettings, Layout, stored_dtype, tiff_compression

FILE_CHANNELS: tuple[str, ...] = ("DAPI", "TRITC", "CY5", "BF", "FITC")
"""The scanner's channels, in the order in which it numbers their files."""
JPEG_QUALITY = 90
EXPOSURE_MS: dict[str, float] = {"DAPI": 171.013, "TRITC": 216.386, "CY5": 400.0, "BF": 200.0, "FITC": 49.6151}


class BZScannerWriter:
    """Writes `Tile<number>.tif` or `.jpg` and slideinfo.txt, which states the grid."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._channels = file_channels(settings.panel)

    def write(self, place: FramePlace, counts: np.ndarray) -> None:
        """Write one file per channel: number = number of the tile + channel x tiles."""
        settings = self._settings
        tiles = settings.grid.rows * settings.grid.columns
        for page, channel in zip(counts, self._channels, strict=True):
            path = settings.folder / f"Tile{place.number + FILE_CHANNELS.index(channel) * tiles:06d}"
            if settings.jpeg:
                Image.fromarray(page.astype(np.uint8)).save(path.with_suffix(".jpg"), quality=JPEG_QUALITY)
                continue
            tifffile.imwrite(
                path.with_suffix(".tif"),
                page.astype(stored_dtype(settings)),
                photometric="minisblack",
                compression=tiff_compression(settings),
                metadata=None,
                software=False,
            )

    def finish(self, truth: pa.Table) -> None:
        """Write slideinfo.txt: steps in um (tiles touch: the overlap is already removed), grid, exposure and gain."""
        grid = self._settings.grid
        lines = [f"SLIDEID={self._settings.name.upper()}", "SLIDEDIR=", "INSTRUMENT=0", "SLIDEPOS=1"]
        lines += [f"{name}={int(name in self._channels)},{EXPOSURE_MS[name]:g},1" for name in FILE_CHANNELS]
        lines += [
            f"XSTEPSIZE={grid.step_x_px * grid.pixel_size_um:.6g}",
            f"YSTEPSIZE={grid.step_y_px * grid.pixel_size_um:.6g}",
            f"TILEROWS={grid.rows}",
            f"TILECOLS={grid.columns}",
            "FLATFIELDCORRECTION=0",
            "gain_applied=1",
        ]
        (self._settings.folder / "slideinfo.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def file_channels(panel: Panel) -> list[str]:
    """The scanner's channel of each channel of the panel, by its dye or its marker.

    Raises:
        PanelError: the scanner has no such channel, or it would serve two.
    """
    found = []
    for channel in panel.channels:
        names = {(channel.fluorophore or "").upper(), channel.marker.upper()}
        found.append(next((name for name in FILE_CHANNELS if name in names), ""))
    if "" in found or len(set(found)) < len(found):
        raise PanelError(
            "has channels that a BZScanner does not write",
            where=f"panel '{panel.name}'",
            expected=f"dyes or markers among: {', '.join(FILE_CHANNELS)}",
            found=", ".join(f"{c.marker} ({c.fluorophore or 'no dye'})" for c in panel.channels),
        )
    return found


LAYOUT = Layout(
    name="bzscanner",
    panel="bzscanner",
    pixel_size_um=0.591,
    frame_size_px=(1362, 1004),
    open_writer=BZScannerWriter,
    scanner_shape=(96, 24),
    known_shapes={2304: (96, 24)},
    serpentine=True,
    specks_per_mm2=26_000.0,
    jpeg=True,
)
"""HDSCA slides; specks as measured on a real slide."""
