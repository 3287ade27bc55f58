"""The two facts needed from OME-XML: names of the channels, and micrometres per pixel."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from ctcnet.errors import ImageError

_UM_PER_UNIT = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "Å": 1e-4, "pm": 1e-6}
"""Units of length of the OME schema that are used for light microscopes; both letters for micro occur in files."""


def read_ome_xml(text: str, where: str | Path) -> tuple[list[str] | None, float | None]:
    """Channel names and pixel size of the one image in an OME-XML text.

    Args:
        text: OME-XML, as in the ImageDescription of an OME-TIFF.
        where: file, for messages.

    Returns:
        names, or None where not every channel has one of its own; micrometres per pixel, or None where not stated.

    Raises:
        ImageError: the XML is malformed, declares entities, or its pixels are not square.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ImageError(
            "has OME-XML with a document type, which is refused", where=where, fix="export the image again"
        )
    try:
        root = ElementTree.fromstring(text.encode("utf-8"))
    except ElementTree.ParseError as cause:
        raise ImageError(
            f"has malformed OME-XML ({cause}), so that its channels and pixel size are not known",
            where=where,
            fix="export the image again",
        ) from cause
    pixels = root.find(".//{*}Image/{*}Pixels")
    if pixels is None:
        return None, None
    return _channel_names(pixels), _pixel_size_um(pixels, where)


def _channel_names(pixels: ElementTree.Element) -> list[str] | None:
    """Names of the channels; None where one has no name, or where one name stands for several samples of a pixel, as in
    an image with the axes YXC, whose samples OME-XML cannot name one by one."""
    channels = pixels.findall("{*}Channel")
    names = [channel.get("Name") or "" for channel in channels]
    samples = [channel.get("SamplesPerPixel", "1") for channel in channels]
    named_together = any(text.isdecimal() and int(text) > 1 for text in samples)
    return names if names and all(names) and not named_together else None


def _pixel_size_um(pixels: ElementTree.Element, where: str | Path) -> float | None:
    sizes = []
    for axis in "XY":
        text = pixels.get(f"PhysicalSize{axis}")
        unit = _UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if text is not None and unit is not None:
            try:
                sizes.append(float(text) * unit)
            except ValueError as cause:
                raise ImageError(f"has a PhysicalSize{axis} that is no number", where=where, found=text) from cause
    if not sizes:
        return None
    if not 0 < min(sizes) <= max(sizes) < 100 or max(sizes) / min(sizes) > 1.01:
        raise ImageError(
            "has an impossible pixel size, or pixels that are not square",
            where=where,
            expected="PhysicalSizeX = PhysicalSizeY, above 0, below 100 um",
            found=" x ".join(f"{size:g}" for size in sizes) + " um",
            fix="resample the image to square pixels, or mend its metadata",
        )
    return sizes[0]
