"""One image file without a scanner's metadata: TIFF, PNG or JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile

from ctcnet.crops.image_file import read_bytes
from ctcnet.crops.picture_image import decode_picture
from ctcnet.crops.tiff_image import DecodedImage, decode_tiff
from ctcnet.errors import FrameError, ImageError

_TIFF_ENDINGS = (".tif", ".tiff")
_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
_MIN_IS_WHITE = 0
"""Value of TIFF's PhotometricInterpretation for grey images whose 0 is white."""
_GREY_TOLERANCE = 3
"""Counts by which the planes of a grey picture may differ once JPEG has stored them as luminance and colour."""


@dataclass(frozen=True)
class PlainImage:
    """An image file's content.

    Attributes:
        path: the file.
        pixels: (C, H, W), dtype of the file in the machine's byte order.
        channel_names: as OME or ImageJ metadata state them; empty where they do not.
        pixel_size_um: where OME metadata state it, else None.
    """

    path: Path
    pixels: np.ndarray
    channel_names: tuple[str, ...]
    pixel_size_um: float | None

    @property
    def described(self) -> str:
        """Size, dtype and channels, for messages."""
        channels, height, width = self.pixels.shape
        names = f" ({', '.join(self.channel_names)})" if self.channel_names else ""
        return f"{width} x {height} px, {self.pixels.dtype}, {channels} channels{names}"


def read_plain_image(path: Path) -> PlainImage:
    """Read an image; a grey picture that was stored in colour counts as grey.

    Raises:
        FrameError: the file is absent, empty, damaged, of an unknown kind, or a colour or inverted picture.
    """
    ending = path.suffix.lower()
    try:
        if ending in _TIFF_ENDINGS:
            content = read_bytes(path)
            decoded = decode_tiff(content, path)
            _check_not_inverted(content, path)
            names = decoded.channel_names or _imagej_labels(content, len(decoded.pixels))
        elif ending in _PICTURE_ENDINGS:
            decoded = decode_picture(read_bytes(path), path)
            names = []
        else:
            raise ImageError("is no image of a known kind", where=path, expected="TIFF, PNG or JPEG")
    except ImageError as error:
        raise FrameError(
            error.what, where=error.where, expected=error.expected, found=error.found, fix=error.fix
        ) from error
    pixels = _grey(decoded, path) if decoded.is_rgb else decoded.pixels
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return PlainImage(path, pixels, tuple(names), decoded.pixel_size_um)


def _check_not_inverted(content: bytes, path: Path) -> None:
    """Raise FrameError where the first page of a TIFF stores white as 0."""
    with tifffile.TiffFile(BytesIO(content), _multifile=False) as tif:
        if int(tif.pages[0].aspage().photometric) == _MIN_IS_WHITE:
            raise FrameError(
                "holds an inverted picture, not counts",
                where=path,
                expected="0 is black",
                found="MINISWHITE",
                fix="export the camera's pixels, not a display picture",
            )


def _grey(decoded: DecodedImage, path: Path) -> np.ndarray:
    planes = decoded.pixels.astype(np.int32)
    difference = int((planes.max(axis=0) - planes.min(axis=0)).max())
    if difference > _GREY_TOLERANCE:
        raise FrameError(
            "is a colour picture, not the image of one channel",
            where=path,
            expected="a grey image, or equal planes",
            found=f"planes that differ by up to {difference} counts",
            fix="export each channel as a grey image",
        )
    return np.median(decoded.pixels, axis=0).astype(decoded.pixels.dtype)[None]


def _imagej_labels(content: bytes, channels: int) -> list[str]:
    """Labels that ImageJ gives the slices of a stack; none where there is not one for each."""
    with tifffile.TiffFile(BytesIO(content), _multifile=False) as tif:
        labels = (tif.imagej_metadata or {}).get("Labels")
    if not isinstance(labels, list | tuple) or len(labels) != channels:
        return []
    names = [str(label).strip() for label in labels]
    return names if all(names) else []
