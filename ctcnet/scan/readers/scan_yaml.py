"""scan.yaml: what the package csi_images writes of an Axioscan slide (fields as in its version 3.0.4, csi_scans)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ctcnet.errors import CartridgeError

FILE_NAME = "scan.yaml"


@dataclass(frozen=True)
class ScanInfo:
    """What scan.yaml says.

    Attributes:
        rows, columns: grid of the scan's first region.
        tile_width_px, tile_height_px: size of the camera's image.
        overlap_share: share of a tile that its neighbour shows again.
        pixel_size_um: micrometres per pixel.
        channels: names, in the order of the scan.
    """

    rows: int
    columns: int
    tile_width_px: int
    tile_height_px: int
    overlap_share: float
    pixel_size_um: float
    channels: tuple[str, ...]


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that reads the classes named in the file as the plain mappings that they are."""


def _plain_mapping(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, "a tag on something other than a mapping", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_PlainLoader.add_multi_constructor("", _plain_mapping)


def read_scan_yaml(path: Path) -> ScanInfo:
    """Read scan.yaml; classes named in it are never made.

    Raises:
        CartridgeError: the file cannot be read, is no YAML, or lacks a size or has an impossible one.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except (OSError, UnicodeDecodeError) as cause:
        raise CartridgeError(f"cannot be read ({cause})", where=path, fix="check its permissions") from cause
    except (yaml.YAMLError, ValueError, RecursionError) as cause:
        raise _unusable(path, "is not valid YAML", str(cause)) from cause
    if not isinstance(content, Mapping):
        raise _unusable(path, "holds no mapping", type(content).__name__)
    regions, channels = content.get("roi"), content.get("channels")
    if not isinstance(regions, list) or not regions or not isinstance(regions[0], Mapping):
        raise _unusable(path, "names no region (roi)", str(regions)[:80])
    if not isinstance(channels, list) or not all(isinstance(channel, Mapping) for channel in channels):
        raise _unusable(path, "names no channels", str(channels)[:80])
    return ScanInfo(
        rows=int(_number(regions[0], "tile_rows", 1, 10_000, path)),
        columns=int(_number(regions[0], "tile_cols", 1, 10_000, path)),
        tile_width_px=int(_number(content, "tile_width_px", 1, 100_000, path)),
        tile_height_px=int(_number(content, "tile_height_px", 1, 100_000, path)),
        overlap_share=_number(content, "tile_overlap_proportion", 0, 0.5, path),
        pixel_size_um=_number(content, "pixel_size_um", 0.001, 100, path),
        channels=tuple(str(channel.get("name", "")) for channel in channels),
    )


def _number(content: Mapping[str, Any], key: str, least: float, largest: float, path: Path) -> float:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= largest:
        raise _unusable(path, f"has no usable {key}", str(value), f"a number from {least:g} to {largest:g}")
    return value


def _unusable(path: Path, what: str, found: str, expected: str | None = None) -> CartridgeError:
    return CartridgeError(
        what,
        where=path,
        expected=expected,
        found=found,
        fix="copy it again, or move it away: then the platform's own values are taken",
    )
