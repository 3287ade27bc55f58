"""What a layout is to the simulator: the scanner's usual sizes, and how its files are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from ctcnet.panel import Panel
from ctcnet.simulate.field_grid import FieldGrid, FramePlace

COMPRESSIONS: tuple[str, ...] = ("none", "lzw", "deflate")


@dataclass(frozen=True)
class FileSettings:
    """How the files of one cartridge are to be written.

    Attributes:
        folder: where they go; it exists and is empty.
        name: of the cartridge.
        panel: channels in the order of the frames' pixels; its bit depth is that of the counts.
        grid: places of the frames.
        compression: one of `COMPRESSIONS`.
        stored_bits: bits of what is stored in a pixel: 8, 12 or 16.
        jpeg: 8-bit JPEG files instead of TIFF.
    """

    folder: Path
    name: str
    panel: Panel
    grid: FieldGrid
    compression: str
    stored_bits: int
    jpeg: bool


class FrameWriter(Protocol):
    """Writes the files of one cartridge."""

    def write(self, place: FramePlace, counts: np.ndarray) -> None:
        """Write one frame, (C, H, W) uint16 counts; each place once, in any order."""
        ...

    def finish(self, truth: pa.Table) -> None:
        """Write what stands beside the frames, such as the scanner's own record."""
        ...


@dataclass(frozen=True)
class Layout:
    """A scanner.

    Attributes:
        name: as in `--layout`.
        panel: shipped panel that is taken where none is named.
        pixel_size_um: its usual pixel size.
        frame_size_px: width and height of its frames.
        open_writer: makes the writer; raises SettingError or PanelError where the settings cannot be written so.
        scanner_shape: rows and columns of a full scan.
        known_shapes: frames of full scans -> rows and columns.
        overlap_px: columns and rows that neighbouring frames share.
        serpentine: whether every second row is scanned backwards.
        first_number: number of the first frame.
        rim_um: width of the band along the cartridge's edge that shows its wall; 0 where there is none.
        specks_per_mm2: of stain; None where the patient's draw decides.
        compressions: those that its files may have.
        stored_bits: bits a stored pixel may have, the usual first.
        jpeg: whether it may write JPEG.
    """

    name: str
    panel: str
    pixel_size_um: float
    frame_size_px: tuple[int, int]
    open_writer: Callable[[FileSettings], FrameWriter]
    scanner_shape: tuple[int, int] = (1, 1)
    known_shapes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    overlap_px: int = 0
    serpentine: bool = False
    first_number: int = 1
    rim_um: float = 0.0
    specks_per_mm2: float | None = None
    compressions: tuple[str, ...] = COMPRESSIONS
    stored_bits: tuple[int, ...] = (16,)
    jpeg: bool = False


def tiff_compression(settings: FileSettings) -> str | None:
    """Compression in tifffile's words."""
    return {"none": None, "lzw": "lzw", "deflate": "adobe_deflate"}[settings.compression]


def stored_dtype(settings: FileSettings) -> type[np.unsignedinteger]:
    """Type of the stored pixels."""
    return np.uint8 if settings.stored_bits == 8 or settings.panel.bit_depth == 8 else np.uint16


def halved(page: np.ndarray) -> np.ndarray:
    """A page at half resolution: rounded means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = (size // 2 * 2 for size in page.shape)
    blocks = page[:height, :width].reshape(height // 2, 2, width // 2, 2).astype(np.uint32)
    return ((blocks.sum(axis=(1, 3)) + 2) // 4).astype(page.dtype)
