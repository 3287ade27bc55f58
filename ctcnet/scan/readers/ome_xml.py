"""OME-XML: what it says of the images of a set of OME-TIFF files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.length_units import UM_PER_UNIT

_ASIDE = ("label", "macro", "overview", "thumbnail")
"""First words of the names that slide scanners give pictures of the whole slide beside the scan itself."""


@dataclass(frozen=True)
class OmePlane:
    """Where one channel of an image is stored.

    Attributes:
        file_name: file of the set, None for the one that holds the XML.
        ifd: number of the TIFF directory, from 0.
    """

    file_name: str | None
    ifd: int


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-XML.

    Attributes:
        name: of the image; empty where it has none.
        height_px, width_px: size.
        pixel_type: type of the pixels in OME's words, such as 'uint16'.
        significant_bits: where stated.
        channel_names: of all channels where each has a name, else empty.
        planes: one for each channel, None where the XML does not say where it is.
        pixel_size_um: where stated.
        position_um: x and y on the stage where stated with a unit of length.
        colour: whether a channel holds several samples a pixel: a colour picture.
    """

    name: str
    height_px: int
    width_px: int
    pixel_type: str
    significant_bits: int | None
    channel_names: tuple[str, ...]
    planes: tuple[OmePlane | None, ...]
    pixel_size_um: float | None
    position_um: tuple[float, float] | None
    colour: bool

    @property
    def beside_scan(self) -> bool:
        """Whether this is a picture of the slide's label or the like, by its name and its colours."""
        return self.colour or self.name.casefold().startswith(_ASIDE)


def parse_ome_xml(text: str, where: Path) -> tuple[OmeImage, ...]:
    """Read the images that an OME-XML lists, in their order.

    Schema 2016-06, and those before it as far as they say the same. Lengths are converted to um; a plane's position
    in a 'reference frame' (OME's default, which has no scale) counts as not stated.

    Raises:
        CartridgeError: malformed, with a document type, without images, with several sections or times, with pixels
            that are not square, or with values that are no numbers.
    """
    try:
        root = fromstring(text.encode("utf-8"), forbid_dtd=True)
    except DefusedXmlException as cause:
        raise CartridgeError("has OME-XML with a document type, which is refused", where=where) from cause
    except (ParseError, ValueError, LookupError) as cause:  # LookupError: an encoding that does not exist
        raise CartridgeError(f"has malformed OME-XML ({cause})", where=where, fix="export the image again") from cause
    own_uuid = root.get("UUID")
    try:
        images = tuple(_image(element, own_uuid, where) for element in root.findall("{*}Image"))
    except (TypeError, ValueError) as cause:
        raise CartridgeError(
            f"has OME-XML with a missing value, or one that is no number ({cause})", where=where
        ) from cause
    if not images:
        raise CartridgeError("has OME-XML without an image", where=where, found=f"element {root.tag.split('}')[-1]}")
    return images


def _image(element: Element, own_uuid: str | None, where: Path) -> OmeImage:
    pixels = element.find("{*}Pixels")
    if pixels is None:
        raise CartridgeError("has OME-XML with an image without pixels", where=where)
    sizes = {axis: int(pixels.get(f"Size{axis}", "")) for axis in "XYCZT"}
    if sizes["Z"] != 1 or sizes["T"] != 1:
        raise CartridgeError(
            "holds several sections or times",
            where=where,
            expected="SizeZ = 1 and SizeT = 1",
            found=f"SizeZ = {sizes['Z']}, SizeT = {sizes['T']}",
            fix="export one section, or a projection, of one time",
        )
    if not (0 < sizes["X"] < 2**31 and 0 < sizes["Y"] < 2**31 and 0 < sizes["C"] <= 1024):
        raise CartridgeError("has OME-XML with impossible sizes", where=where, found=str(sizes))
    channels = pixels.findall("{*}Channel")
    names = [(channel.get("Name") or "").strip() for channel in channels]
    named = len(names) == sizes["C"] and all(names)
    significant = pixels.get("SignificantBits")
    size_um = _pixel_size_um(pixels, where)
    return OmeImage(
        name=(element.get("Name") or "").strip(),
        height_px=sizes["Y"],
        width_px=sizes["X"],
        pixel_type=pixels.get("Type") or pixels.get("PixelType") or "",
        significant_bits=None if significant is None else int(significant),
        channel_names=tuple(names) if named else (),
        planes=_planes(pixels, sizes["C"], own_uuid, where),
        pixel_size_um=size_um,
        position_um=_position_um(pixels, size_um),
        colour=any(int(channel.get("SamplesPerPixel") or 1) > 1 for channel in channels),
    )


def _planes(pixels: Element, channels: int, own_uuid: str | None, where: Path) -> tuple[OmePlane | None, ...]:
    planes: list[OmePlane | None] = [None] * channels
    for data in pixels.findall("{*}TiffData"):
        for channel, plane in _tiff_data(data, channels, own_uuid):
            if not 0 <= channel < channels or plane.ifd < 0:
                raise CartridgeError(
                    "has OME-XML that points to a channel that there is not",
                    where=where,
                    expected=f"FirstC from 0 to {channels - 1}",
                    found=f"FirstC {channel}, IFD {plane.ifd}",
                )
            planes[channel] = plane
    return tuple(planes)


def _tiff_data(data: Element, channels: int, own_uuid: str | None) -> Iterator[tuple[int, OmePlane]]:
    """Channels that one TiffData element places: without a PlaneCount one where it names an IFD, else all."""
    uuid = data.find("{*}UUID")
    file_name = None
    if uuid is not None and (own_uuid is None or (uuid.text or "").strip() != own_uuid):
        file_name = uuid.get("FileName")
    ifd = data.get("IFD")
    count = data.get("PlaneCount") or data.get("NumPlanes")
    first = int(data.get("FirstC") or 0)
    planes = int(count) if count is not None else (1 if ifd is not None else channels)
    for place in range(min(planes, channels)):
        yield first + place, OmePlane(file_name, int(ifd or 0) + place)


def _pixel_size_um(pixels: Element, where: Path) -> float | None:
    sizes = []
    for axis in "XY":
        text = pixels.get(f"PhysicalSize{axis}")
        unit = UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if text is not None and unit is not None:
            sizes.append(float(text) * unit)
    if not sizes:
        return None
    return square_pixel_um(sizes, where)


def square_pixel_um(sizes_um: list[float], where: Path) -> float:
    """The one pixel size of an image.

    Raises:
        CartridgeError: not above 0, or not the same along x and y within 1 %.
    """
    if not 0 < min(sizes_um) <= max(sizes_um) <= 1.01 * min(sizes_um):
        raise CartridgeError(
            "has an impossible pixel size, or pixels that are not square",
            where=where,
            expected="the same size above 0 along x and y",
            found=" x ".join(f"{size:g}" for size in sizes_um) + " um",
            fix="resample the image to square pixels, or mend its metadata",
        )
    return sizes_um[0]


def _position_um(pixels: Element, pixel_size_um: float | None) -> tuple[float, float] | None:
    for plane in pixels.findall("{*}Plane"):
        position = []
        for axis in "XY":
            text, unit = plane.get(f"Position{axis}"), plane.get(f"Position{axis}Unit", "reference frame")
            scale = pixel_size_um if unit == "pixel" else UM_PER_UNIT.get(unit)
            if text is not None and scale is not None:
                position.append(float(text) * scale)
        if len(position) == 2:
            return position[0], position[1]
    return None
