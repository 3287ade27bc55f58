"""Frames of a CellTracks cartridge: their pages, and how the pixels of these are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import tifffile

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.scan.cartridge import Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.celltracks_stretch import StoredPage, Stretch, judge_stretch, sample_page, stretch_limits
from ctcnet.scan.readers.channel_files import check_full_scale
from ctcnet.scan.readers.frame_shape import FrameShape, check_shape, spread_sample
from ctcnet.scan.readers.tiff_pages import grey_page_size, opened_tiff, read_page

_SAMPLE = 12
"""Pages looked at in full to learn how pixels are stored."""


@dataclass(frozen=True)
class FrameFiles:
    """Reads frames that stand in one TIFF file each; may be used in several threads at once.

    Attributes:
        files: file of each frame.
        shape: shape of every file.
        pages: page of each channel, in the order of the panel.
        stretch: how pixels are stored.
        full_scale: largest count that the camera gives.
    """

    files: tuple[Path, ...]
    shape: FrameShape
    pages: tuple[int, ...]
    stretch: Stretch
    full_scale: int

    def read(self, index: int) -> np.ndarray:
        """Counts of one frame, (C, H, W), uint8 or uint16.

        Raises:
            FrameError: the file is damaged, has another shape than the others, or is stored in another way.
        """
        path = self.files[index]
        stretched = self.stretch.full_scale is not None
        dtype = np.dtype(np.uint16) if stretched else self.shape.dtype
        counts = np.empty((len(self.pages), self.shape.height_px, self.shape.width_px), dtype)
        with opened_tiff(path) as pages:
            check_shape(_pages_shape(pages, path), self.shape, path)
            for image, page_index in zip(counts, self.pages, strict=True):
                page = pages[page_index]
                stored = image if image.dtype == page.dtype else np.empty(image.shape, page.dtype)
                read_page(page, stored)
                self.stretch.restore(stored, stretch_limits(page, path), image, path)
        if self.full_scale < np.iinfo(dtype).max:
            check_full_scale(counts, self.full_scale, (path,))
        return counts


def _pages_shape(pages: Sequence[tifffile.TiffPage], path: Path) -> FrameShape:
    sizes = sorted({grey_page_size(page, path) for page in pages})
    if len(sizes) > 1:
        raise FrameError(
            "has pages of different sizes or depths",
            where=path,
            found=", ".join(f"{width} x {height} px, {bits} bit" for height, width, bits in sizes),
            fix="the frame is left out; look whether it belongs to another scan",
        )
    return FrameShape(len(pages), *sizes[0])


def file_shape(path: Path) -> FrameShape:
    """Shape of the pages of a frame's file, from their heads.

    Raises:
        FrameError: the file cannot be read, or its pages are no camera images of one size and depth.
    """
    with opened_tiff(path) as pages:
        return _pages_shape(pages, path)


def pixel_storage(
    files: Sequence[Path], shape: FrameShape, platform: Platform, path: Path
) -> tuple[Stretch, int, list[Note]]:
    """How pixels are stored, the bits of the counts, and what to note.

    Args:
        files: of the frames, in scan order.
        shape: shape of most of them.
        platform: the scanner.
        path: the cartridge, for messages.

    Raises:
        CartridgeError: no page can be read.
    """
    sample = _sampled_pages(files, shape)
    if not sample:
        raise CartridgeError("holds no frame whose pixels can be read", where=path, fix="copy the cartridge again")
    stretch, notes = judge_stretch(sample, shape.bits)
    if stretch.full_scale is not None:
        return stretch, platform.bit_depth, notes
    largest = max(page.largest for page in sample) - stretch.offset
    return stretch, 8 if shape.bits == 8 else platform.bit_depth if largest < 2**platform.bit_depth else 16, notes


def _sampled_pages(files: Sequence[Path], shape: FrameShape) -> list[StoredPage]:
    """Pages spread over the frames and the channels; damaged frames and those of another shape are passed over.

    Where all of the spread frames are, the first other one that is not is taken.
    """
    spread = spread_sample(len(files), _SAMPLE)
    sampled = [_sampled_page(files[index], turn % shape.pages, shape) for turn, index in enumerate(spread)]
    pages = [page for page in sampled if page is not None]
    if not pages:
        others = (_sampled_page(files[index], 0, shape) for index in range(len(files)) if index not in spread)
        pages = list(islice((page for page in others if page is not None), 1))
    return pages


def _sampled_page(path: Path, page_index: int, shape: FrameShape) -> StoredPage | None:
    try:
        return sample_page(path, page_index) if file_shape(path) == shape else None
    except FrameError:
        return None  # named when the frame is read
