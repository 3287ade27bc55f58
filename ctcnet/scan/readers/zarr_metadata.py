"""Metadata of an OME-Zarr image, NGFF 0.4 and 0.5: axes, scale, position, names of the channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.length_units import UM_PER_UNIT
from ctcnet.scan.readers.ome_xml import square_pixel_um


@dataclass(frozen=True)
class ZarrImage:
    """What an image says of itself.

    Attributes:
        array_path: of the full resolution, in the image's folder.
        axes: names of the array's axes in their order, such as ('c', 'y', 'x').
        pixel_size_um: where a unit of length and a scale are stated.
        position_um: x and y where a translation is stated.
        channel_names: labels of the channels; empty where not each has one.
    """

    array_path: str
    axes: tuple[str, ...]
    pixel_size_um: float | None
    position_um: tuple[float, float] | None
    channel_names: tuple[str, ...]


def parse_multiscale(attributes: Mapping[str, Any], where: Path) -> ZarrImage:
    """Read the first multiscale image of a group's metadata.

    Args:
        attributes: content of .zattrs (0.4), or the key 'ome' of the attributes (0.5).
        where: the image, for messages.

    Raises:
        CartridgeError: the metadata are not those of NGFF 0.4 or 0.5, or the pixels are not square.
    """
    try:
        multiscale = attributes["multiscales"][0]
        axes = tuple(axis["name"] for axis in multiscale["axes"])
        units = {axis["name"]: axis.get("unit") for axis in multiscale["axes"]}
        dataset = multiscale["datasets"][0]
        array_path = dataset["path"]
        transforms = [*dataset.get("coordinateTransformations", ()), *multiscale.get("coordinateTransformations", ())]
        if not {"x", "y"} <= set(axes) or len(set(axes)) < len(axes) or not isinstance(array_path, str):
            raise ValueError(f"axes {axes}, path {array_path}")
        scale, offset = _scale_and_offset(transforms, len(axes))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as cause:
        raise CartridgeError(
            f"has metadata that are not those of OME-Zarr 0.4 or 0.5 ({type(cause).__name__}: {cause})",
            where=where,
            expected="multiscales with axes named y and x, and datasets with a path and a scale",
            fix="export the image again",
        ) from cause
    if ".." in Path(array_path).parts or Path(array_path).is_absolute():
        raise CartridgeError("names an array that is not inside it", where=where, found=array_path)
    um = {axis: UM_PER_UNIT.get(str(units[axis])) for axis in "xy"}
    place = {axis: axes.index(axis) for axis in "xy"}
    size_um = position_um = None
    if um["x"] is not None and um["y"] is not None and scale is not None:
        size_um = square_pixel_um([scale[place["x"]] * um["x"], scale[place["y"]] * um["y"]], where)
        if offset is not None:
            position_um = offset[place["x"]] * um["x"], offset[place["y"]] * um["y"]
    return ZarrImage(array_path, axes, size_um, position_um, _labels(attributes))


def _scale_and_offset(
    transforms: Sequence[Mapping[str, Any]], axes: int
) -> tuple[list[float] | None, list[float] | None]:
    """Scale and translation of all transformations, one after the other; None where none states it."""
    scale: list[float] | None = None
    offset: list[float] | None = None
    for transform in transforms:
        kind = transform["type"]
        if kind == "identity":
            continue
        if kind not in ("scale", "translation"):
            raise ValueError(f"transformation '{kind}'")
        values = [float(value) for value in transform[kind]]
        if len(values) != axes:
            raise ValueError(f"{kind} of {len(values)} numbers for {axes} axes")
        if kind == "scale":
            scale = [a * b for a, b in zip(scale or [1.0] * axes, values, strict=True)]
            offset = None if offset is None else [a * b for a, b in zip(offset, values, strict=True)]
        else:
            offset = [a + b for a, b in zip(offset or [0.0] * axes, values, strict=True)]
    return scale, offset


def _labels(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list):
        return ()
    labels = [str(entry.get("label") or "").strip() if isinstance(entry, Mapping) else "" for entry in channels]
    return tuple(labels) if all(labels) else ()
