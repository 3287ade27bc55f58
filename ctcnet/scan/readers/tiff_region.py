"""Part of one page of a TIFF file, read without the rest."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from ctcnet.errors import CtcnetError, FrameError
from ctcnet.scan.readers.lazy_image import Region

LARGEST_SEGMENT_BYTES = 256 * 2**20
"""Tiles and strips above this are not decoded: memory must stay bounded."""

_MIN_IS_BLACK = 1


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Keep tifffile from logging in this thread: what it would log is raised once, with the file's name."""
    logger, thread = logging.getLogger("tifffile"), threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


def open_pages(path: Path, ifds: tuple[int, ...]) -> tuple[tifffile.TiffPage, ...]:
    """Open pages (TIFF directories) of a file; the file is closed again, the pages say where their pixels lie.

    Raises:
        FrameError: there is no such file or page, the file is damaged, or a page holds a colour picture.
    """
    try:
        if path.stat().st_size == 0:
            raise FrameError("is empty (zero bytes)", where=path, fix="copy or export the file again")
        with quiet_tifffile(), tifffile.TiffFile(path, _multifile=False) as tif:
            if max(ifds) >= len(tif.pages):
                raise FrameError(
                    "has too few pages", where=path, expected=f"at least {max(ifds) + 1}", found=str(len(tif.pages))
                )
            return tuple(_grey_page(tif.pages[ifd].aspage(), path) for ifd in ifds)
    except FileNotFoundError as cause:
        raise FrameError("there is no such file", where=path, fix="copy the whole cartridge again") from cause
    except (CtcnetError, MemoryError):
        raise
    except Exception as cause:  # tifffile raises nearly every kind of exception on damaged files
        raise damaged(path, cause) from cause


def _grey_page(page: tifffile.TiffPage, path: Path) -> tifffile.TiffPage:
    if page.samplesperpixel != 1 or int(page.photometric) != _MIN_IS_BLACK:
        raise FrameError(
            "holds display colours, not counts",
            where=path,
            expected="one sample per pixel, 0 is black",
            found=f"{page.samplesperpixel} samples, {getattr(page.photometric, 'name', page.photometric)}",
            fix="export one page per channel, without colours",
        )
    return page


def damaged(path: Path, cause: Exception) -> FrameError:
    """The error of a TIFF file that cannot be decoded."""
    return FrameError(
        f"cannot be read as TIFF ({type(cause).__name__}: {str(cause)[:120]})",
        where=path,
        fix="the file is truncated or damaged: copy it again",
    )


def read_page_region(path: Path, page: tifffile.TiffPage, region: Region) -> np.ndarray:
    """Read a part of a page: only the tiles or strips that it touches.

    Args:
        path: the page's file, opened here anew, so that several threads may read.
        page: as `open_pages` gives it.
        region: inside the page.

    Returns:
        (h, w), the page's dtype in the machine's byte order.

    Raises:
        FrameError: a tile or strip is absent, truncated, damaged or too large.
    """
    try:
        if region.bottom > page.imagelength or region.right > page.imagewidth:
            raise FrameError(
                "is smaller than its metadata say",
                where=path,
                expected=f"at least {region.right} x {region.bottom} px",
                found=f"{page.imagewidth} x {page.imagelength} px",
            )
        with quiet_tifffile():
            pixels = _mapped(path, page, region) if _is_plain(page) else _decoded(path, page, region)
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    except (CtcnetError, MemoryError):
        raise
    except Exception as cause:  # and so do its decoders
        raise damaged(path, cause) from cause


def _truncated(path: Path, needed: int) -> FrameError:
    return FrameError(
        "is truncated",
        where=path,
        expected=f"at least {needed} bytes",
        found=f"{path.stat().st_size} bytes",
        fix="copy the file again",
    )


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Whether the pixels lie in the file one after another as they are."""
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1 and page.bitspersample in (8, 16)
    return bool(plain and not page.is_tiled and page.is_contiguous)


def _mapped(path: Path, page: tifffile.TiffPage, region: Region) -> np.ndarray:
    dtype = np.dtype(f"{page.parent.byteorder}u{page.bitspersample // 8}")
    if page.dtype is None or page.dtype.kind != "u":
        raise FrameError("has a dtype that is not read", where=path, expected="uint8, uint16", found=str(page.dtype))
    shape = (page.imagelength, page.imagewidth)
    stored, offset = shape[0] * shape[1] * dtype.itemsize, page.dataoffsets[0]
    if not offset or sum(page.databytecounts) < stored:
        raise FrameError("has a page without all its pixels", where=path, fix="copy or export the file again")
    if offset + stored > path.stat().st_size:
        raise _truncated(path, offset + stored)
    pixels = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    return np.array(pixels[region.top : region.bottom, region.left : region.right])


def _decoded(path: Path, page: tifffile.TiffPage, region: Region) -> np.ndarray:
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    height = min(height, page.imagelength) if not page.is_tiled else height
    if page.dtype is None or height * width * page.dtype.itemsize > LARGEST_SEGMENT_BYTES:
        raise FrameError(
            "has strips or tiles too large to be read in part",
            where=path,
            expected=f"at most {LARGEST_SEGMENT_BYTES // 2**20} MiB each",
            found=f"{width} x {height} px {page.dtype}",
            fix="save the image with tiles of 512 x 512 px",
        )
    across = -(-page.imagewidth // width)
    pixels = np.empty(region.shape, page.dtype)
    with path.open("rb") as file:
        for row in range(region.top // height, -(-region.bottom // height)):
            for column in range(region.left // width, -(-region.right // width)):
                segment = _segment(path, file, page, row * across + column)
                if segment.shape[0] < min(height, region.bottom - row * height) or segment.shape[1] < min(
                    width, region.right - column * width
                ):
                    raise FrameError("has a tile or strip without all its pixels", where=path, fix="copy it again")
                _paste(pixels, region, segment, row * height, column * width)
    return pixels


def _segment(path: Path, file: BinaryIO, page: tifffile.TiffPage, index: int) -> np.ndarray:
    """One decoded tile (whole) or strip (as many rows as it holds), (h, w)."""
    if index >= len(page.dataoffsets) or not page.dataoffsets[index] or not page.databytecounts[index]:
        raise FrameError("has a tile or strip without pixels", where=path, fix="export the file again")
    file.seek(page.dataoffsets[index])
    content = file.read(page.databytecounts[index])
    if len(content) < page.databytecounts[index]:
        raise _truncated(path, page.dataoffsets[index] + page.databytecounts[index])
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in (6, 7) else {}
    segment = page.decode(content, index, _fullsize=page.is_tiled, **tables)[0]
    if segment is None:
        raise FrameError("has a tile or strip without pixels", where=path, fix="export the file again")
    return np.asarray(segment)[0, :, :, 0]


def _paste(pixels: np.ndarray, region: Region, segment: np.ndarray, top: int, left: int) -> None:
    """Copy the part of a tile or strip, whose first pixel is at (top, left) of the page, that lies in the region."""
    from_row, to_row = max(region.top, top), min(region.bottom, top + segment.shape[0])
    from_column, to_column = max(region.left, left), min(region.right, left + segment.shape[1])
    pixels[from_row - region.top : to_row - region.top, from_column - region.left : to_column - region.left] = segment[
        from_row - top : to_row - top, from_column - left : to_column - left
    ]
