"""Packed stores: all crops of a manifest at one scale in one memory-mapped array, with their table."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctcnet.crops.image_axes import channel_order
from ctcnet.crops.source_kind import INDEX_FILE, PIXELS_FILE, STORE_FILE
from ctcnet.errors import CtcnetError, ManifestError, PanelError
from ctcnet.labels import LabelSchema, schema_from_dict
from ctcnet.panel import Panel, panel_from_dict
from ctcnet.resampling import resample_crop
from ctcnet.settings_file import check_keys

STORE_FORMAT = 1
STORE_KEYS = (
    *("store_format", "software_version", "count", "dtype", "crop_size_px", "pixel_size_um"),
    *("panel", "labels", "simulated", "sha256", "pixels_sha256"),
)


@dataclass(frozen=True)
class StoreHeader:
    """What `store.json` says.

    Attributes:
        panel, schema: channels of the pixels; classes of the targets, None where unlabelled.
        pixel_size_um, crop_size_px: scale and side of all crops.
        simulated: whether the crops are simulated; None where that is not known.
        sha256: hash of the training data, see `LabelledCrops.sha256`; that of the files the store was packed from.
        pixels_sha256: hash of the pixels in `crops.npy`, in order.
    """

    count: int
    dtype: str
    panel: Panel
    schema: LabelSchema | None
    pixel_size_um: float
    crop_size_px: int
    simulated: bool | None
    sha256: str
    pixels_sha256: str


@dataclass
class StoreSource:
    """Pixels of a packed store, memory-mapped; each process that reads maps the file anew.

    Attributes:
        folder: the store.
        header: its `store.json`.
        channels: for each channel of the panel asked for its place in the store; None where they are the same.
        file_digests: bytes (N,), SHA-256 of the image files that the crops came from.
    """

    folder: Path
    header: StoreHeader
    channels: list[int] | None
    file_digests: np.ndarray
    _pixels: np.ndarray | None = field(default=None, repr=False)

    @property
    def pixels(self) -> np.ndarray:
        """The crops (N, C, S, S) in the store's channel order, read-only, on disk until they are touched."""
        if self._pixels is None:
            self._pixels = map_pixels(self.folder, self.header)
        return self._pixels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}

    def read(self, rows: np.ndarray, pixel_size_um: float | None, crop_size_px: int) -> np.ndarray:
        """See `LabelledCrops.read`; at the store's own scale and size one indexing of the memory map."""
        own_um, own_px = self.header.pixel_size_um, self.header.crop_size_px
        target_um = own_um if pixel_size_um is None else pixel_size_um
        crops = self.pixels[rows]
        if self.channels is not None:
            crops = crops[:, self.channels]
        same_scale = abs(target_um / own_um - 1) < 1e-6
        if same_scale and crop_size_px == own_px:
            return crops
        if target_um * crop_size_px > own_um * (own_px + 1):
            raise ManifestError(
                "the store's crops are smaller than the field of view asked for",
                where=self.folder,
                expected=f"{target_um * crop_size_px:.4g} um ({crop_size_px} px of {target_um:g} um)",
                found=f"{own_um * own_px:.4g} um ({own_px} px of {own_um:g} um)",
                fix="pack the images again with --crop-size-px and --model-pixel-size-um for this model",
            )
        if not len(crops):
            return crops[:, :, :crop_size_px, :crop_size_px]
        return np.stack([resample_crop(crop, own_um, target_um, crop_size_px) for crop in crops])

    def pixel_sizes(self, rows: np.ndarray) -> np.ndarray:
        """The store's pixel size for each row."""
        return np.full(len(rows), self.header.pixel_size_um)

    def digests(self, rows: np.ndarray) -> list[bytes]:
        """SHA-256 of the image files that the rows came from."""
        return list(self.file_digests[rows])


def map_pixels(folder: Path, header: StoreHeader) -> np.ndarray:
    """Map a store's pixels into memory, read-only, (N, C, S, S).

    Raises:
        ManifestError: the file is missing or truncated, holds more than its pixels, or is not of the size that the
            header states.
    """
    path = folder / PIXELS_FILE
    try:
        pixels = np.lib.format.open_memmap(path, mode="r")
        size = path.stat().st_size
    except (OSError, ValueError, EOFError) as cause:
        raise damaged(path, f"cannot be mapped ({cause})") from cause
    shape = (header.count, len(header.panel.channels), header.crop_size_px, header.crop_size_px)
    if pixels.shape != shape or pixels.dtype != np.dtype(header.dtype):
        raise damaged(
            path,
            "does not fit the store's header",
            expected=f"{shape} {header.dtype}",
            found=f"{pixels.shape} {pixels.dtype}",
        )
    whole = pixels.offset + pixels.nbytes
    if size != whole:
        raise damaged(path, "holds more than its pixels", expected=f"{whole:,} bytes", found=f"{size:,} bytes")
    return pixels.view(np.ndarray)


def read_header(folder: Path) -> StoreHeader:
    """Read `store.json`.

    Raises:
        ManifestError: it is missing, malformed, or of a later version of ctcnet.
    """
    path = folder / STORE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise damaged(path, "holds no mapping")
        if content.get("store_format") != STORE_FORMAT:
            raise damaged(
                path,
                "is of another version",
                expected=f"store_format {STORE_FORMAT}",
                found=str(content.get("store_format")),
            )
        check_keys(content, required=STORE_KEYS, where=path, error=ManifestError)
        _check_header(content, path)
        return StoreHeader(
            count=int(content["count"]),
            dtype=str(np.dtype(content["dtype"])),
            panel=panel_from_dict(content["panel"], where=path),
            schema=None if content["labels"] is None else schema_from_dict(content["labels"], where=path),
            pixel_size_um=float(content["pixel_size_um"]),
            crop_size_px=int(content["crop_size_px"]),
            simulated=content["simulated"],
            sha256=str(content["sha256"]),
            pixels_sha256=str(content["pixels_sha256"]),
        )
    except CtcnetError:
        raise
    except (OSError, ValueError, TypeError) as cause:
        raise damaged(path, f"cannot be read ({cause})") from cause


def _check_header(content: dict[str, Any], path: Path) -> None:
    checks = (
        ("pixel_size_um", 0 < float(content["pixel_size_um"]) < 100, "um per pixel above 0, below 100"),
        ("crop_size_px", int(content["crop_size_px"]) > 0, "pixels, above 0"),
        ("simulated", content["simulated"] in (True, False, None), "true, false or null"),
    )
    for name, holds, expected in checks:
        if not holds:
            raise damaged(path, f"has an impossible {name}", expected=expected, found=str(content[name]))


def header_to_dict(header: StoreHeader, software_version: str) -> dict[str, Any]:
    """Content of `store.json`."""
    return {
        "store_format": STORE_FORMAT,
        "software_version": software_version,
        "count": header.count,
        "dtype": header.dtype,
        "crop_size_px": header.crop_size_px,
        "pixel_size_um": header.pixel_size_um,
        "panel": header.panel.to_dict(),
        "labels": None if header.schema is None else header.schema.to_dict(),
        "simulated": header.simulated,
        "sha256": header.sha256,
        "pixels_sha256": header.pixels_sha256,
    }


def read_index(folder: Path, header: StoreHeader) -> pa.Table:
    """Read a store's table.

    Raises:
        ManifestError: it is missing or damaged, or has not as many rows as the header states.
    """
    path = folder / INDEX_FILE
    try:
        index = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as cause:
        raise damaged(path, f"cannot be read ({str(cause).splitlines()[0]})") from cause
    if index.num_rows != header.count:
        raise damaged(path, "has another number of rows", expected=str(header.count), found=str(index.num_rows))
    return index


def store_channels(header: StoreHeader, panel: Panel, folder: Path) -> list[int] | None:
    """Place in the store of each channel of `panel`; None where order and names are the same.

    Raises:
        PanelError: channels or bit depth differ.
    """
    if panel.bit_depth != header.panel.bit_depth:
        raise PanelError(
            f"the store's bit depth is not that of the panel '{panel.name}'",
            where=folder,
            expected=str(panel.bit_depth),
            found=str(header.panel.bit_depth),
            fix="pack the images again with this panel",
        )
    order = channel_order(header.panel.markers, panel, folder)
    return None if order == list(range(len(order))) else order


def damaged(path: Path, what: str, expected: str | None = None, found: str | None = None) -> ManifestError:
    """The error for a store that is not as it was written."""
    return ManifestError(
        what, where=path, expected=expected, found=found, fix="the store is damaged: pack the images again"
    )
