"""TIFF and OME-TIFF to (C, H, W), with channel names and pixel size where the file states them."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from ctcnet.crops.image_axes import to_channels_first
from ctcnet.crops.ome_metadata import read_ome_xml
from ctcnet.errors import CtcnetError, ImageError

_RGB, _PALETTE, _YCBCR = 2, 3, 6
_LOG = logging.getLogger("tifffile")


class DecodedImage(NamedTuple):
    """An image file's content.

    Attributes:
        pixels: (C, H, W), the dtype of the file.
        channel_names: names in the order of the file, where it states one for each channel.
        pixel_size_um: micrometres per pixel where the file states them.
        is_rgb: whether the channels are the planes of a colour picture, R, G, B.
    """

    pixels: np.ndarray
    channel_names: list[str] | None
    pixel_size_um: float | None
    is_rgb: bool


def decode_tiff(content: bytes, where: Path) -> DecodedImage:
    """Decode a TIFF file that holds one image.

    Axes are those of OME, ImageJ or tifffile metadata; without any, pages of one shape are channels in their order.
    Resolution tags are no pixel size: cameras and programs fill them with 72 or 96 dpi.

    Raises:
        ImageError: the file is truncated or damaged, holds more than one image, or has axes that are no channels.
    """
    level = _LOG.level
    _LOG.setLevel(logging.CRITICAL + 1)  # what it would log is raised below, once, with the file's name
    try:
        with tifffile.TiffFile(BytesIO(content), _multifile=False) as tif:
            tif.pages.cache = True
            _check_complete(tif, len(content), where)
            return _decode(tif, where)
    except CtcnetError:
        raise
    except MemoryError as cause:
        raise ImageError(
            f"says that it is larger than memory ({cause})", where=where, fix="the file is damaged: copy it again"
        ) from cause
    except Exception as cause:  # tifffile and its decoders raise nearly every kind of exception on damaged files
        raise ImageError(
            f"cannot be read as TIFF ({type(cause).__name__}: {str(cause)[:120]})",
            where=where,
            fix="the file is truncated or damaged: copy it again",
        ) from cause
    finally:
        _LOG.setLevel(level)


def _check_complete(tif: tifffile.TiffFile, size: int, where: Path) -> None:
    """Refuse a file whose pages point beyond its end or to nothing: tifffile would fill them with zeros, and take a
    file whose next page lies beyond its end for one of fewer pages."""
    needed, seen = 0, set()
    for page in tif.pages:
        frame: Any = page
        if frame.offset in seen:
            raise ImageError("is damaged: its pages lead round in a circle", where=where, fix="copy the file again")
        seen.add(frame.offset)
        if not frame.databytecounts or not all(frame.databytecounts) or not all(frame.dataoffsets):
            raise ImageError("has a page without pixels", where=where, fix="copy or export the file again")
        needed = max(needed, *(o + n for o, n in zip(frame.dataoffsets, frame.databytecounts, strict=True)))
    if needed > size:
        raise ImageError(
            "is truncated", where=where, expected=f"{needed} bytes", found=f"{size} bytes", fix="copy the file again"
        )
    next_page = tif.pages.next_page_offset
    assert next_page is not None  # every page was seen
    tif.filehandle.seek(next_page)
    if any(tif.filehandle.read(tif.tiff.offsetsize)):
        raise ImageError(
            "is truncated or damaged",
            where=where,
            expected=f"more than {len(tif.pages)} page(s)",
            fix="copy the file again",
        )


def _decode(tif: tifffile.TiffFile, where: Path) -> DecodedImage:
    first: Any = tif.pages[0]
    photometric = int(first.photometric)
    if photometric in (_PALETTE, _YCBCR):
        raise ImageError(
            "holds display colours, not counts", where=where, found=first.photometric.name, fix="export it as grey TIFF"
        )
    series = tif.series
    if len(series) == 1:
        pixels, axes = series[0].asarray(), series[0].axes
    else:
        shapes = {(part.axes, part.shape, part.dtype) for part in series}
        if len(shapes) != 1 or series[0].axes != "YX":
            raise ImageError(
                f"holds {len(series)} images",
                where=where,
                expected="one image, or single pages of one size",
                found="; ".join(f"{part.axes} {part.shape}" for part in series[:6]),
                fix="save one image per file",
            )
        pixels, axes = np.stack([part.asarray() for part in series]), "IYX"
    names, pixel_size_um = _metadata(tif, where)
    is_rgb = photometric == _RGB and "S" in axes  # an axis that the metadata call C holds channels
    return DecodedImage(to_channels_first(pixels, axes, where), names, pixel_size_um, is_rgb)


def _metadata(tif: tifffile.TiffFile, where: Path) -> tuple[list[str] | None, float | None]:
    description = tif.pages.first.description.strip()
    if tif.is_ome or description.startswith(("<OME", "<?xml")):  # to tifffile, cut off OME-XML is none
        return read_ome_xml(description, where)
    shaped = tif.shaped_metadata
    channel = shaped[0].get("Channel") if shaped else None
    names = channel.get("Name") if isinstance(channel, dict) else None
    return (list(map(str, names)) if isinstance(names, list) else None), None
