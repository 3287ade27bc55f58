"""Axioscan 7 slides: one TIFF per tile and channel, named by its place, and scan.yaml."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import tifffile
import yaml

from ctcnet.errors import PanelError, SettingError
from ctcnet.simulate.field_grid import FramePlace
from ctcnet.simulate.layouts.layout import FileSettings, Layout, stored_dtype, tiff_compression

TAG = "csi_images.csi_scans.Scan"
"""YAML tag of a scan record in the format that these laboratories exchange."""


class AxioscanWriter:
    """Writes `<channel>-X<column>-Y<row>.tif` and scan.yaml."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._channels = [channel.fluorophore or channel.marker for channel in settings.panel.channels]
        if len(set(self._channels)) < len(self._channels) or any(set("/\\") & set(name) for name in self._channels):
            raise PanelError(
                "has dyes that cannot name the files of an Axioscan",
                where=f"panel '{settings.panel.name}'",
                expected="a dye or marker of its own for each channel, without slashes",
                found=", ".join(self._channels),
            )
        self._overlap = overlap_share(settings)

    def write(self, place: FramePlace, counts: np.ndarray) -> None:
        """Write one file per channel."""
        settings = self._settings
        for page, channel in zip(counts, self._channels, strict=True):
            tifffile.imwrite(
                settings.folder / f"{channel}-X{place.column:03d}-Y{place.row:03d}.tif",
                page.astype(stored_dtype(settings)),
                photometric="minisblack",
                compression=tiff_compression(settings),
                metadata=None,
                software=False,
            )

    def finish(self, truth: pa.Table) -> None:
        """Write scan.yaml."""
        grid = self._settings.grid
        step_um = (grid.step_x_px * grid.pixel_size_um, grid.step_y_px * grid.pixel_size_um)
        region = _Record(f"{TAG}.ROI")
        region |= {"origin_x_um": 0, "origin_y_um": 0}
        region |= {"width_um": round(step_um[0] * grid.columns), "height_um": round(step_um[1] * grid.rows)}
        region |= {"tile_rows": grid.rows, "tile_cols": grid.columns, "focus_points": []}
        channels = []
        for name in self._channels:
            channel = _Record(f"{TAG}.Channel")
            channel |= {"name": name, "exposure_ms": 100.0, "intensity": 1.0, "gain_applied": True}
            channels.append(channel)
        scan = _Record(TAG)
        scan |= {"slide_id": self._settings.name.upper(), "scanner_id": "axioscan7_0", "path": "", "exists": True}
        scan |= {"start_datetime": "", "end_datetime": "", "scan_time_s": -1, "tray_pos": 0, "slide_pos": 0}
        scan |= {"camera": "simulated", "objective": "10x-0.45", "pixel_size_um": grid.pixel_size_um}
        scan |= {"tile_width_px": grid.frame_width_px, "tile_height_px": grid.frame_height_px}
        scan |= {"tile_x_offset_px": 0, "tile_y_offset_px": 0, "tile_overlap_proportion": self._overlap}
        scan |= {"channels": channels, "roi": [region]}
        text = yaml.dump(scan, Dumper=_RecordDumper, sort_keys=False)
        (self._settings.folder / "scan.yaml").write_text(text, encoding="utf-8")


def overlap_share(settings: FileSettings) -> float:
    """Share of a tile that its neighbour shows too: 0.01 where that gives the grid's overlap in whole pixels.

    Raises:
        SettingError: no one share gives the overlap of both axes.
    """
    grid = settings.grid
    sides = ((grid.frame_width_px, grid.overlap_x_px), (grid.frame_height_px, grid.overlap_y_px))
    for share in (0.01, *(round((overlap + 0.5) / size, 6) for size, overlap in sides)):
        if all(math.floor(size * share) == overlap for size, overlap in sides):
            return share
    raise SettingError(
        "cannot be written: scan.yaml holds one share of overlap for both axes",
        where="frame_size_px",
        expected="frames that are about as wide as high",
        found=f"{grid.frame_width_px} x {grid.frame_height_px} px",
    )


class _Record(dict):
    """A mapping with a YAML tag."""

    def __init__(self, tag: str) -> None:
        super().__init__()
        self.tag = tag


class _RecordDumper(yaml.SafeDumper):
    """Writes records with their tags in full."""


_RecordDumper.add_representer(
    _Record, lambda dumper, record: dumper.represent_mapping(record.tag, list(record.items()))
)

LAYOUT = Layout(
    name="axioscan",
    panel="axioscan",
    pixel_size_um=0.652,
    frame_size_px=(2040, 2040),
    open_writer=AxioscanWriter,
    scanner_shape=(17, 43),
    known_shapes={731: (17, 43)},
    overlap_px=20,
    first_number=0,
)
"""HDSCA slides; tiles in rows, neighbours share 1 %."""
