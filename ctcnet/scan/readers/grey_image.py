"""One grey image from a TIFF or JPEG file: its shape from the file's head, and its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ctcnet.errors import FrameError
from ctcnet.scan.readers.frame_shape import FrameShape, check_shape
from ctcnet.scan.readers.tiff_pages import grey_page_size, opened_tiff, read_page

JPEG_ENDINGS = (".jpg", ".jpeg")
TIFF_ENDINGS = (".tif", ".tiff")
_CHROMA_ERROR = 3
"""Counts by which the planes of a grey image differ at most when it was stored as a colour JPEG: rounding of YCbCr."""


def grey_shape(path: Path) -> FrameShape:
    """Shape of the image in a file, from its head.

    Raises:
        FrameError: the file cannot be read, or holds no grey image of 8 or 16 bits.
    """
    if path.suffix.lower() in JPEG_ENDINGS:
        with _opened_jpeg(path) as image:
            return FrameShape(1, image.height, image.width, 8)
    with opened_tiff(path) as pages:
        return FrameShape(len(pages), *grey_page_size(pages[0], path))


def read_grey(path: Path, shape: FrameShape, out: np.ndarray) -> None:
    """Read the image in a file into `out` (H, W), uint8 or uint16, of the shape and depth stated.

    Raises:
        FrameError: the file is damaged, truncated or no grey image, or has another shape.
    """
    if path.suffix.lower() in JPEG_ENDINGS:
        with _opened_jpeg(path) as image:
            check_shape(FrameShape(1, image.height, image.width, 8), shape, path)
            out[...] = _grey_pixels(image, path)
        return
    with opened_tiff(path) as pages:
        check_shape(FrameShape(len(pages), *grey_page_size(pages[0], path)), shape, path)
        read_page(pages[0], out)


def _opened_jpeg(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=("JPEG",))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as cause:
        raise _damaged(path, cause) from cause


def _grey_pixels(image: Image.Image, path: Path) -> np.ndarray:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as cause:
        raise _damaged(path, cause) from cause
    if image.mode == "L":
        return np.asarray(image)
    if image.mode != "RGB":
        raise FrameError("is no grey image", where=path, found=f"colour mode {image.mode}", fix="export grey images")
    planes = np.asarray(image).astype(np.int16)
    difference = int((planes.max(axis=-1) - planes.min(axis=-1)).max())
    if difference > _CHROMA_ERROR:
        raise FrameError(
            "is a colour picture, not the image of one channel",
            where=path,
            expected="a grey image, or three equal planes",
            found=f"planes that differ by up to {difference} counts",
            fix="export each channel as a grey image",
        )
    return np.asarray(image.convert("L"))


def _damaged(path: Path, cause: Exception) -> FrameError:
    reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0][:120]
    return FrameError(
        f"cannot be read as JPEG ({reason})",
        where=path,
        fix="the file is damaged or was not copied whole: copy it again",
    )
