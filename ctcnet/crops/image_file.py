"""One crop from its image file or files: (C, H, W) counts in the panel's order."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctcnet.crops.image_axes import channel_order, check_channel_count
from ctcnet.crops.picture_image import decode_npy, decode_picture
from ctcnet.crops.source_kind import IMAGE_ENDINGS
from ctcnet.crops.tiff_image import DecodedImage, decode_tiff
from ctcnet.errors import ImageError, PanelError
from ctcnet.panel import RGB_PLANES, Panel

CHANNEL_PLACE = "{channel}"
"""Stands in a manifest's path for the marker's name where each channel has a file of its own."""


class CropImage(NamedTuple):
    """A crop as it lies in its file.

    Attributes:
        pixels: (C, H, W) uint8, uint16 or float32 counts, channels in the panel's order.
        pixel_size_um: micrometres per pixel where the file's OME metadata state them.
    """

    pixels: np.ndarray
    pixel_size_um: float | None


def files_of_crop(path: Path, panel: Panel) -> list[Path]:
    """The file of a crop, or its files, one per channel, where the path holds `{channel}`."""
    if CHANNEL_PLACE not in str(path):
        return [path]
    return [Path(str(path).replace(CHANNEL_PLACE, marker)) for marker in panel.markers]


def read_bytes(path: Path) -> bytes:
    """Content of a file.

    Raises:
        ImageError: the file is absent, empty or not to be read, or no file but a folder, a pipe or a device.
    """
    try:
        if not path.is_file() and path.exists():  # a pipe would be waited for without end
            raise ImageError("is no file", where=path, expected="an image file", fix="check the path in the manifest")
        content = path.read_bytes()
    except FileNotFoundError as cause:
        fix = (
            "write / instead of \\ in paths" if "\\" in path.name else "check the path; it is relative to the manifest"
        )
        raise ImageError("there is no such file", where=path, fix=fix) from cause
    except OSError as cause:
        raise ImageError(
            f"cannot be read ({cause.strerror})", where=path, fix="check the path and its permissions"
        ) from cause
    if not content:
        raise ImageError("is empty (zero bytes)", where=path, fix="copy or export the file again")
    return content


def file_digest(files: list[Path]) -> bytes:
    """SHA-256 of the bytes of the files, one after another."""
    total = sha256()
    for file in files:
        total.update(read_bytes(file))
    return total.digest()


def read_image(path: Path, panel: Panel, *, check: bool = True) -> CropImage:
    """Read a crop.

    TIFF and OME-TIFF (axes from metadata), PNG and JPEG (RGB under a panel whose channels name their planes, grey for
    one channel), `.npy` (C, H, W). Channel names in the file must be those of the panel and give the order; without
    names the channels stand in the panel's order.

    Args:
        path: file, or pattern of files with `{channel}`.
        panel: channels of the image.
        check: whether the values are checked too, see `check_finite` and `check_full_scale`.

    Raises:
        ImageError: a file cannot be read, or has values or a dtype that cannot be used.
        PanelError: the channels are not those of the panel.
    """
    files = files_of_crop(path, panel)
    if len(files) == 1 and CHANNEL_PLACE not in str(path):
        return _read_file(path, panel, check)
    images = []
    for file, channel in zip(files, panel.channels, strict=True):
        alone = Panel(panel.name, (replace(channel, plane=None),), panel.bit_depth, panel.pixel_size_um)
        images.append(_read_file(file, alone, check))
    shapes = {image.pixels.shape for image in images}
    sizes = {image.pixel_size_um for image in images}
    if len(shapes) > 1 or len(sizes) > 1:
        raise ImageError(
            "the files of its channels differ in size or pixel size",
            where=path,
            found="; ".join(
                f"{file.name}: {image.pixels.shape[1:]}" for file, image in zip(files, images, strict=True)
            ),
        )
    return CropImage(np.concatenate([image.pixels for image in images]), images[0].pixel_size_um)


def _read_file(path: Path, panel: Panel, check: bool) -> CropImage:
    decoded = _decode(path)
    pixels = _panel_channels(decoded, panel, path)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    check_dtype(pixels, path)
    if check:
        check_finite(pixels, panel, path)
        check_full_scale(pixels, panel, path)
    return CropImage(pixels, decoded.pixel_size_um)


def _decode(path: Path) -> DecodedImage:
    ending = path.suffix.lower()
    if ending in (".tif", ".tiff"):
        return decode_tiff(read_bytes(path), path)
    if ending == ".npy":
        return decode_npy(read_bytes(path), path)
    if ending in IMAGE_ENDINGS:
        return decode_picture(read_bytes(path), path)
    raise ImageError("is no image of a known kind", where=path, expected=f"a file ending in {', '.join(IMAGE_ENDINGS)}")


def _panel_channels(image: DecodedImage, panel: Panel, where: Path) -> np.ndarray:
    planes = panel.rgb_order
    if planes is not None and image.is_rgb:
        if len(image.pixels) != len(RGB_PLANES):
            raise ImageError("is no RGB picture", where=where, expected="3 planes", found=str(len(image.pixels)))
        return image.pixels[list(planes)]
    if image.is_rgb and image.channel_names is None:
        raise PanelError(
            f"is an RGB picture, and the panel '{panel.name}' does not say which marker each plane shows",
            where=where,
            expected="a panel whose channels have 'plane: R', 'plane: G', 'plane: B'",
            found=", ".join(panel.markers),
            fix="give such a panel, for instance --panel rgb_merge",
        )
    check_channel_count(len(image.pixels), panel, where)
    if image.channel_names is None:
        return image.pixels
    return image.pixels[channel_order(image.channel_names, panel, where)]


def check_dtype(pixels: np.ndarray, where: str | Path) -> None:
    """Raise ImageError unless an image is uint8, uint16 or float32."""
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ImageError(
            "has a dtype that is not read",
            where=where,
            expected="uint8, uint16 or float32 counts",
            found=str(pixels.dtype),
            fix="convert it to float32 counts, or to uint16",
        )


def check_finite(pixels: np.ndarray, panel: Panel, where: str | Path) -> None:
    """Raise ImageError when pixels are NaN or infinite."""
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        wrong = [m for m, channel in zip(panel.markers, pixels, strict=True) if not np.isfinite(channel).all()]
        raise ImageError(
            "has NaN or infinite pixels", where=where, found=f"in {', '.join(wrong)}", fix="export it again"
        )


def check_full_scale(pixels: np.ndarray, panel: Panel, where: str | Path) -> None:
    """Raise ImageError when pixels are above the largest count of the panel's bit depth."""
    largest = pixels.max()
    if largest > panel.full_scale:
        raise ImageError(
            f"has values above the bit depth of the panel '{panel.name}'",
            where=where,
            expected=f"at most {panel.full_scale} counts ({panel.bit_depth} bits)",
            found=f"{largest:g}",
            fix="give the panel with the camera's bit depth",
        )
