"""OME-TIFF: one tiled, pyramidal file per frame, each with its place on the stage."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import numpy as np
import pyarrow as pa
import tifffile

from ctcnet.simulate.field_grid import FramePlace
from ctcnet.simulate.layouts.layout import FileSettings, Layout, halved, stored_dtype, tiff_compression

TILE_PX = 512
LEAST_TILE_PX = 64
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


class OmeTiffWriter:
    """Writes `frame_<number>.ome.tif`: full resolution, and half of it as a sub-resolution of each page."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._digits = max(4, len(str(settings.grid.rows * settings.grid.columns)))

    def write(self, place: FramePlace, counts: np.ndarray) -> None:
        """Write one file with one page per channel."""
        settings = self._settings
        path = settings.folder / f"frame_{place.number:0{self._digits}d}.ome.tif"
        pixels = counts.astype(stored_dtype(settings))
        side = TILE_PX if min(pixels.shape[1:]) >= TILE_PX else LEAST_TILE_PX
        options = {
            "photometric": "minisblack",
            "tile": (side, side),
            "compression": tiff_compression(settings),
            "metadata": None,
            "software": False,
        }
        xml = ome_xml(settings, place, path.name).encode("utf-8")
        with tifffile.TiffWriter(path) as tif:
            for index, page in enumerate(pixels):
                tif.write(page, subifds=1, description=xml if index == 0 else None, **options)
                tif.write(halved(page), subfiletype=1, **options)

    def finish(self, truth: pa.Table) -> None:
        """Nothing stands beside the frames: each file says everything of itself."""


def ome_xml(settings: FileSettings, place: FramePlace, name: str) -> str:
    """OME-XML (2016-06) of one frame: channels by marker, sizes and positions in um, significant bits."""
    grid, panel = settings.grid, settings.panel
    kind = "uint8" if stored_dtype(settings) is np.uint8 else "uint16"
    channels = "".join(
        f'<Channel ID="Channel:0:{index}" Name={quoteattr(channel.marker)} SamplesPerPixel="1"'
        + (f" Fluor={quoteattr(channel.fluorophore)}" if channel.fluorophore else "")
        + "/>"
        for index, channel in enumerate(panel.channels)
    )
    count = len(panel.channels)
    data = "".join(
        f'<TiffData IFD="{index}" FirstC="{index}" FirstZ="0" FirstT="0" PlaneCount="1"/>' for index in range(count)
    )
    x_um, y_um = place.x_px * grid.pixel_size_um, place.y_px * grid.pixel_size_um
    planes = "".join(
        f'<Plane TheC="{index}" TheZ="0" TheT="0" PositionX="{x_um:.6f}" PositionXUnit="µm" '
        f'PositionY="{y_um:.6f}" PositionYUnit="µm"/>'
        for index in range(count)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}" Creator="simulated">'
        f'<Image ID="Image:0" Name={quoteattr(name)}><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="{kind}" '
        f'SignificantBits="{panel.bit_depth}" SizeX="{grid.frame_width_px}" SizeY="{grid.frame_height_px}" '
        f'SizeC="{count}" SizeZ="1" SizeT="1" PhysicalSizeX="{grid.pixel_size_um:g}" PhysicalSizeXUnit="µm" '
        f'PhysicalSizeY="{grid.pixel_size_um:g}" PhysicalSizeYUnit="µm">{channels}{data}{planes}</Pixels></Image></OME>'
    )


LAYOUT = Layout(
    name="ome-tiff",
    panel="ctc5",
    pixel_size_um=0.5,
    frame_size_px=(2048, 2048),
    open_writer=OmeTiffWriter,
)
"""Any microscope that writes OME-TIFF."""
