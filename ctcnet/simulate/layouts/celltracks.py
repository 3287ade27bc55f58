"""CellTracks cartridges: one TIFF per frame with one stretched page per channel, and the scanner's XML."""

from __future__ import annotations

from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import tifffile

from ctcnet.errors import SettingError
from ctcnet.panel import Panel
from ctcnet.simulate.field_grid import FieldGrid, FramePlace
from ctcnet.simulate.layouts.layout import FileSettings, Layout, stored_dtype, tiff_compression

LOWER_TAG, UPPER_TAG = 755, 756
"""Private TIFF tags: the counts (SHORT) that the stored range of a page was stretched from."""
PAGE_ORDER: tuple[str, ...] = ("leukocyte", "nucleus", "epithelial")
"""Roles of the first pages; the other channels follow in the panel's order."""
FILTER_NAMES: dict[str, str] = {"DAPI": "DNA", "CK": "CK-PE", "CD45": "CD45-APC", "marker1": "FITC"}
"""The scanner's names of the usual markers; others are called by their marker."""
LARGEST_COUNT = 4095
PRIOR_CK_LEVEL = 3.0
"""Events with an epithelial stain above this are in the scanner's list, as candidates for the operator."""


class CellTracksWriter:
    """Writes `<name>_<number>.tif` and `<name>.xml`."""

    def __init__(self, settings: FileSettings) -> None:
        if settings.panel.full_scale > LARGEST_COUNT:
            raise SettingError(
                "the scanner's limits are 12-bit counts", where="panel", expected="a panel of 12 bits or fewer"
            )
        self._settings = settings
        self._pages = page_order(settings.panel)
        self._digits = max(3, len(str(settings.grid.rows * settings.grid.columns)))

    def write(self, place: FramePlace, counts: np.ndarray) -> None:
        """Write the pages of one frame, each stretched to the stored range by itself."""
        settings = self._settings
        path = settings.folder / f"{settings.name}_{place.number:0{self._digits}d}.tif"
        with tifffile.TiffWriter(path) as tif:
            for channel in self._pages:
                page, lower, upper = stretch(counts[channel], 2**settings.stored_bits - 1)
                tif.write(
                    page.astype(stored_dtype(settings)),
                    photometric="minisblack",
                    compression=tiff_compression(settings),
                    metadata=None,
                    software=False,
                    extratags=[(LOWER_TAG, 3, 1, lower, True), (UPPER_TAG, 3, 1, upper, True)],
                )

    def finish(self, truth: pa.Table) -> None:
        """Write the scanner's record: grid, filters, and candidate events with the operator's calls."""
        settings = self._settings
        names = [FILTER_NAMES.get(settings.panel.markers[c], settings.panel.markers[c]) for c in self._pages]
        grid = settings.grid
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<archive>", "<runs>", "<record>"]
        lines += [
            f"<numrows>{grid.rows}</numrows>",
            f"<numcols>{grid.columns}</numcols>",
            f"<camxsize>{grid.frame_width_px}</camxsize>",
            f"<camysize>{grid.frame_height_px}</camysize>",
            "</record>",
            "</runs>",
            "<test_filters>",
            *(f"<record><filtername>{escape(name)}</filtername></record>" for name in names),
            "</test_filters>",
            "<events>",
            *prior_events(truth, grid),
            "</events>",
            "</archive>",
        ]
        (settings.folder / f"{settings.name}.xml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def page_order(panel: Panel) -> list[int]:
    """Channels in the order of the pages."""
    first = [panel.roles.index(role) for role in PAGE_ORDER if role in panel.roles]
    return first + [index for index in range(len(panel.roles)) if index not in first]


def stretch(counts: np.ndarray, full_scale: int) -> tuple[np.ndarray, int, int]:
    """A page stretched to 0..full_scale, with the counts that its least and largest value stand for."""
    lower, upper = int(counts.min()), int(counts.max())
    if upper == lower:
        upper = lower + 1
    return np.rint((counts.astype(np.float32) - lower) * (full_scale / (upper - lower))), lower, upper


def prior_events(truth: pa.Table, grid: FieldGrid) -> list[str]:
    """Records of the events that the scanner would list; boxes in pixels of the whole cartridge."""
    places = {place.number: place for place in grid.scan_order()}
    records = []
    for row in truth.to_pylist():
        ck_level = row["ck_level"]
        if row["role"] != "event" or row["class"] == "leukocyte" or ck_level is None or ck_level < PRIOR_CK_LEVEL:
            continue
        place = places[row["frame"]]
        half_px = row["diameter_um"] / 2 / grid.pixel_size_um + 3
        x, y = place.x_px + row["x_px"], place.y_px + row["y_px"]
        corners = [round(value) for value in (x - half_px, y - half_px, x + half_px, y + half_px)]
        assigned = str("ctc" in row["class"]).lower()
        records.append(
            f"<record><rid>{len(records) + 1}</rid><framenum>{row['frame']}</framenum><numselected>1</numselected>"
            f"<assigned>{assigned}</assigned>"
            f"<location>({corners[0]},{corners[1]})({corners[2]},{corners[3]})</location></record>"
        )
    return records


LAYOUT = Layout(
    name="celltracks",
    panel="cellsearch4",
    pixel_size_um=0.64,
    frame_size_px=(1384, 1036),
    open_writer=CellTracksWriter,
    scanner_shape=(5, 35),
    known_shapes={140: (4, 35), 144: (4, 36), 170: (5, 34), 175: (5, 35), 180: (5, 36), 210: (6, 35)},
    serpentine=True,
    rim_um=60.0,
    stored_bits=(16, 12, 8),
)
"""CellSearch / CellTracks Analyzer II, 10x NA 0.45."""
