"""PNG and JPEG pictures, and .npy arrays, to (C, H, W)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ctcnet.crops.tiff_image import DecodedImage
from ctcnet.errors import ImageError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY_MODES = ("L", "I;16", "I;16B", "I;16L")


def decode_picture(content: bytes, where: Path) -> DecodedImage:
    """Decode a PNG or JPEG; the content decides which, not the file's ending.

    Grey pictures have one channel, RGB pictures three. The alpha plane of an RGBA picture is dropped where it is
    opaque throughout, as display programs write it, and refused otherwise.

    Raises:
        ImageError: the file is damaged, of another kind, palette, CMYK or 16-bit colour, or partly transparent.
    """
    if content.startswith(_PNG_SIGNATURE) and content[24:26] in (b"\x10\x02", b"\x10\x06"):
        raise ImageError("is PNG with 16 bits per colour, which Pillow cuts to 8", where=where, fix="save it as TIFF")
    try:
        with Image.open(BytesIO(content), formats=("PNG", "JPEG")) as picture:
            mode, pixels = picture.mode, np.asarray(picture)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as cause:
        raise ImageError(
            f"cannot be read as PNG or JPEG ({str(cause)[:120]})",
            where=where,
            fix="the file is truncated, damaged or of another kind: export it again",
        ) from cause
    if mode in _GREY_MODES:
        return DecodedImage(pixels.astype(pixels.dtype.newbyteorder("="))[None], None, None, is_rgb=False)
    if mode == "RGBA" and (pixels[..., 3] == 255).all():
        pixels, mode = pixels[..., :3], "RGB"
    if mode != "RGB":
        raise ImageError(
            "is a picture whose values cannot be used",
            where=where,
            expected="grey, RGB, or RGBA that is opaque throughout",
            found=f"mode {mode}" + (" with transparent pixels" if mode == "RGBA" else ""),
            fix="save it as RGB, or as TIFF",
        )
    return DecodedImage(np.moveaxis(pixels, 2, 0), None, None, is_rgb=True)


def decode_npy(content: bytes, where: Path) -> DecodedImage:
    """Decode a .npy array: (C, H, W), or (H, W) for one channel. Pickled objects are refused.

    Raises:
        ImageError: the file is damaged, says that it is larger than memory, or has another number of axes.
    """
    try:
        pixels = np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, MemoryError) as cause:
        raise ImageError(f"cannot be read as .npy ({str(cause)[:120]})", where=where, fix="save it again") from cause
    if not isinstance(pixels, np.ndarray) or pixels.ndim not in (2, 3) or pixels.size == 0:
        shape = str(pixels.shape) if isinstance(pixels, np.ndarray) else "an archive"
        raise ImageError("is no image", where=where, expected="shape (C, H, W) or (H, W)", found=shape)
    return DecodedImage(pixels if pixels.ndim == 3 else pixels[None], None, None, is_rgb=False)
