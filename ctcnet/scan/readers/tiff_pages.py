"""Pages of a TIFF file, read one by one straight into their place, with every fault named."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from ctcnet.errors import CtcnetError, FrameError

_MIN_IS_BLACK = 1
"""Value of TIFF's PhotometricInterpretation for grey images whose counts grow with the light."""
_COPY_AGAIN = "the file is damaged or was not copied whole: copy it again"


class _QuietHere(logging.Filter):
    """Drops tifffile's log records in the threads that raise its findings as errors of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.state = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.state, "quiet", False)


_QUIET = _QuietHere()
logging.getLogger("tifffile").addFilter(_QUIET)


@contextmanager
def opened_tiff(path: Path) -> Iterator[list[tifffile.TiffPage]]:
    """Give the pages of a TIFF file, each checked to lie inside the file.

    May be used in several threads at once, on the same file too. Whatever goes wrong inside the block is the file's
    fault, unless it is one of ctcnet's own errors.

    Raises:
        FrameError: the file cannot be read, is empty, truncated or no TIFF.
    """
    _QUIET.state.quiet = True
    try:
        with tifffile.TiffFile(path, _multifile=False) as tif:
            tif.pages.useframes = False
            pages = [page for page in tif.pages if isinstance(page, tifffile.TiffPage)]
            _check_complete(pages, tif.filehandle.size, path)
            yield pages
    except (CtcnetError, MemoryError):
        raise
    except OSError as cause:
        raise FrameError(f"cannot be read ({cause.strerror or cause})", where=path, fix=_COPY_AGAIN) from cause
    except Exception as cause:  # tifffile and its decoders raise nearly every kind of exception on damaged files
        raise FrameError(
            f"cannot be read as TIFF ({type(cause).__name__}: {str(cause)[:120]})", where=path, fix=_COPY_AGAIN
        ) from cause
    finally:
        _QUIET.state.quiet = False


def _check_complete(pages: list[tifffile.TiffPage], size: int, path: Path) -> None:
    """Refuse a file whose pages point beyond its end or to nothing; tifffile would fill these with zeros."""
    if not pages:
        raise FrameError("holds no image", where=path, fix=_COPY_AGAIN)
    needed = 0
    for page in pages:
        if not page.databytecounts or not all(page.databytecounts) or not all(page.dataoffsets):
            raise FrameError("has a page without pixels", where=path, fix=_COPY_AGAIN)
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        needed = max(needed, *ends)
    if needed > size:
        raise FrameError("is truncated", where=path, expected=f"{needed} bytes", found=f"{size} bytes", fix=_COPY_AGAIN)


def grey_page_size(page: tifffile.TiffPage, path: Path) -> tuple[int, int, int]:
    """Height, width and stored bits of a page.

    Raises:
        FrameError: the page is not one plane of grey, unsigned 8-bit or 16-bit pixels of which 0 is black.
    """
    if len(page.shape) != 2 or int(page.photometric) != _MIN_IS_BLACK or page.dtype not in (np.uint8, np.uint16):
        raise FrameError(
            "has a page that is no camera image",
            where=path,
            expected="one plane of grey 8-bit or 16-bit pixels, 0 is black",
            found=f"shape {page.shape}, {page.dtype}, {getattr(page.photometric, 'name', page.photometric)}",
            fix="export the camera's pixels, not a display picture",
        )
    return page.shape[0], page.shape[1], 8 if page.dtype == np.uint8 else 16


def read_page(page: tifffile.TiffPage, out: np.ndarray) -> None:
    """Decode a page into `out` (H, W), which has its shape and dtype; frames are read in parallel, not their parts."""
    if page.compression == tifffile.COMPRESSION.LZW and _read_by_libtiff(page, out):
        return
    pixels = page.asarray(out=out, maxworkers=1)
    if not np.shares_memory(pixels, out):
        out[...] = pixels


def _read_by_libtiff(page: tifffile.TiffPage, out: np.ndarray) -> bool:
    """Decode a page by libtiff, which unpacks LZW in half of tifffile's time.

    Returns:
        False where libtiff does not take it, so that tifffile reads it or says what is wrong.
    """
    file = page.parent.filehandle
    file.seek(0)
    try:
        pixels = imagecodecs.tiff_decode(file.read(), index=page.index)
    except (imagecodecs.TiffError, IndexError, ValueError):
        return False
    if pixels.shape != out.shape or pixels.dtype != out.dtype:
        return False
    out[...] = pixels
    return True
