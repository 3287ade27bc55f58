"""Small OME-TIFF files built by hand: the XML is written here, not by a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from ome_tiff_files import ALL

from ctcnet.panel import Channel, Panel

NAMES = ("CD45", "DAPI", "CK")


def _image(
    number: int,
    shape: tuple[int, int, int],
    tiff_data: str,
    *,
    names: Sequence[str | None] = NAMES,
    position_um: tuple[float, float] | None = None,
    pixels: str = 'Type="uint16" SignificantBits="12" PhysicalSizeX="0.5" PhysicalSizeY="0.5"',
    sizes: str = 'SizeZ="1" SizeT="1"',
    unit: str = 'PositionXUnit="mm" PositionYUnit="mm"',
    name: str = "",
) -> str:
    """One Image element; positions are written in mm."""
    channels = "".join(
        f'<Channel ID="Channel:{number}:{place}" SamplesPerPixel="1"' + (f' Name="{label}"' if label else "") + "/>"
        for place, label in enumerate(names)
    )
    plane = ""
    if position_um is not None:
        x, y = position_um[0] / 1000, position_um[1] / 1000
        plane = f'<Plane TheZ="0" TheT="0" TheC="0" PositionX="{x}" PositionY="{y}" {unit}/>'
    return (
        f'<Image ID="Image:{number}" Name="{name}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" {pixels} '
        f'SizeX="{shape[2]}" SizeY="{shape[1]}" SizeC="{shape[0]}" {sizes}>{channels}{tiff_data}{plane}'
        "</Pixels></Image>"
    )


def _document(*images: str, uuid: str = "urn:uuid:00000000-0000-4000-8000-000000000001") -> str:
    """An OME-XML document."""
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{space}" UUID="{uuid}">{"".join(images)}</OME>'


def _write(path: Path, pages: np.ndarray, xml: str, **options) -> Path:
    """Write pages (N, H, W) with a description of one's own on the first."""
    with tifffile.TiffWriter(path) as tif:
        for place, page in enumerate(pages):
            description = xml.encode() if place == 0 else None
            tif.write(
                page, photometric="minisblack", metadata=None, description=description, contiguous=False, **options
            )
    return path


@pytest.fixture
def panel() -> Panel:
    """DAPI, CK, CD45, 12 bit; another order than in the files."""
    channels = (Channel("DAPI", "nucleus"), Channel("CK", "epithelial", "PE"), Channel("CD45", "leukocyte", "APC"))
    return Panel("three", channels, 12)


@pytest.fixture
def random_counts() -> Callable[..., np.ndarray]:
    """Random 12-bit counts of a shape."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 4096, shape, dtype=np.uint16)

    return make


@pytest.fixture(scope="session")
def ome() -> SimpleNamespace:
    """Functions `image`, `document` and `write`, see above, and the `names` of the channels in the files."""
    return SimpleNamespace(image=_image, document=_document, write=_write, names=NAMES)


@pytest.fixture
def frame_files(tmp_path: Path, ome, random_counts):
    """A folder of 2 x 3 frames of 30 x 40 px, 4 px overlap, each in a file of its own; and the whole field."""
    field = random_counts(3, 56, 112)
    for number in range(1, 7):
        row, column = divmod(number - 1, 3)
        pixels = field[:, row * 26 : row * 26 + 30, column * 36 : column * 36 + 40]
        image = ome.image(0, pixels.shape, ALL, position_um=(5000 + column * 18.0, 700 + row * 13.0))
        ome.write(tmp_path / f"slide7_f{number:03}.ome.tif", pixels, ome.document(image))
    return tmp_path, field
