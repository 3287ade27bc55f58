"""OME-Zarr (NGFF 0.4, Zarr 2): one image with two resolutions per frame, each with its place."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from ctcnet.simulate.field_grid import FramePlace
from ctcnet.simulate.layouts.layout import FileSettings, Layout, halved, stored_dtype

CHUNK_PX = 1024
ZLIB_LEVEL = 1


class OmeZarrWriter:
    """Writes a folder `frame_<number>.ome.zarr` per frame."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._digits = max(4, len(str(settings.grid.rows * settings.grid.columns)))

    def write(self, place: FramePlace, counts: np.ndarray) -> None:
        """Write one image, (channel, row, column)."""
        settings = self._settings
        folder = settings.folder / f"frame_{place.number:0{self._digits}d}.ome.zarr"
        folder.mkdir()
        _write_json(folder / ".zgroup", {"zarr_format": 2})
        _write_json(folder / ".zattrs", attributes(settings, place, folder.name))
        pixels = counts.astype(stored_dtype(settings))
        for level, image in enumerate((pixels, np.stack([halved(page) for page in pixels]))):
            write_array(folder / str(level), image, compressed=settings.compression == "deflate")

    def finish(self, truth: pa.Table) -> None:
        """Nothing stands beside the frames: each image says everything of itself."""


def attributes(settings: FileSettings, place: FramePlace, name: str) -> dict[str, object]:
    """The group's attributes: axes, scale and translation in um of both resolutions, channels by marker."""
    size_um = settings.grid.pixel_size_um
    datasets = []
    for level, factor in enumerate((1, 2)):
        shift_um = size_um * (factor - 1) / 2
        place_um = [round(pixel * size_um + shift_um, 6) for pixel in (place.y_px, place.x_px)]
        transformations = [
            {"type": "scale", "scale": [1.0, size_um * factor, size_um * factor]},
            {"type": "translation", "translation": [0.0, *place_um]},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    full_scale = settings.panel.full_scale
    channels = [
        {"label": marker, "color": "FFFFFF", "active": True, "window": _window(full_scale)}
        for marker in settings.panel.markers
    ]
    multiscale = {"version": "0.4", "name": name, "axes": axes, "datasets": datasets}
    return {"multiscales": [multiscale], "omero": {"version": "0.4", "channels": channels}}


def _window(full_scale: int) -> dict[str, int]:
    return {"min": 0, "max": full_scale, "start": 0, "end": full_scale}


def write_array(folder: Path, image: np.ndarray, *, compressed: bool) -> None:
    """Write an array (C, H, W) as Zarr 2 with one channel per chunk; chunks at the edge are filled up with 0."""
    folder.mkdir()
    height, width = (min(CHUNK_PX, size) for size in image.shape[1:])
    pixels = image.astype(image.dtype.newbyteorder("<"))
    settings = {
        "zarr_format": 2,
        "shape": list(image.shape),
        "chunks": [1, height, width],
        "dtype": "|u1" if image.dtype == np.uint8 else "<u2",
        "compressor": {"id": "zlib", "level": ZLIB_LEVEL} if compressed else None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }
    _write_json(folder / ".zarray", settings)
    for channel, page in enumerate(pixels):
        for row in range(math.ceil(page.shape[0] / height)):
            target = folder / str(channel) / str(row)
            target.mkdir(parents=True)
            for column in range(math.ceil(page.shape[1] / width)):
                part = page[row * height : (row + 1) * height, column * width : (column + 1) * width]
                chunk = np.zeros((height, width), page.dtype)
                chunk[: part.shape[0], : part.shape[1]] = part
                data = chunk.tobytes()
                (target / str(column)).write_bytes(zlib.compress(data, ZLIB_LEVEL) if compressed else data)


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


LAYOUT = Layout(
    name="ome-zarr",
    panel="ctc5",
    pixel_size_um=0.5,
    frame_size_px=(2048, 2048),
    open_writer=OmeZarrWriter,
    compressions=("none", "deflate"),
)
"""Any microscope whose images were converted to OME-Zarr."""
