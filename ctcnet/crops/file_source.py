"""Crops in image files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctcnet.crops.image_file import CropImage, file_digest, files_of_crop, read_image
from ctcnet.errors import ImageError, ManifestError
from ctcnet.panel import Panel
from ctcnet.resampling import resample_crop

SIZE_TOLERANCE = 0.01
"""Largest relative difference of two statements of one pixel size."""

LEAST_PIXEL_SIZE_UM = 1e-3
"""Smallest pixel size taken for real; anything below is a wrong unit."""

MOST_FIELDS = 4
"""An image whose shorter side is more than this many times as long as what is cut from it about its centre holds many
such fields, and is a frame."""


@dataclass(frozen=True)
class FileSource:
    """Image files, one row per crop.

    Attributes:
        folder: what the paths are relative to.
        paths: object (N,), may hold `{channel}`.
        panel: channels of the images.
        stated_um: float64 (N,), micrometres per pixel by the manifest, NaN where not stated.
        assumed_um: micrometres per pixel that the caller states for images that state none themselves.
    """

    folder: Path
    paths: np.ndarray
    panel: Panel
    stated_um: np.ndarray
    assumed_um: float | None = None

    def file(self, row: int) -> Path:
        """Path of a row's file; holds `{channel}` where there is one per channel."""
        return self.folder / self.paths[row]

    def image(self, row: int, *, check: bool = True) -> CropImage:
        """A row's image as it lies in its file; see `read_image` for `check` and errors."""
        return read_image(self.file(row), self.panel, check=check)

    def size_um(self, row: int, image: CropImage) -> float:
        """Micrometres per pixel of a row's image, NaN where nothing states them.

        Raises:
            ImageError: the file contradicts the manifest by more than 1 %.
        """
        stated, in_file = float(self.stated_um[row]), image.pixel_size_um
        if in_file is not None and abs(stated - in_file) > SIZE_TOLERANCE * in_file:
            raise ImageError(
                "has another pixel size than the manifest says",
                where=self.file(row),
                expected=f"{stated:g} um, as in the manifest",
                found=f"{in_file:g} um in its OME metadata",
                fix="correct the one that is wrong",
            )
        for size_um in (stated, in_file, self.assumed_um, self.panel.pixel_size_um):
            if size_um is not None and not np.isnan(size_um):
                if size_um < LEAST_PIXEL_SIZE_UM:
                    raise ImageError(
                        "has an impossible pixel size",
                        where=self.file(row),
                        expected=f"{LEAST_PIXEL_SIZE_UM:g} um or more",
                        found=f"{size_um:g} um",
                        fix="state it in micrometres, not in metres or millimetres",
                    )
                return size_um
        return float("nan")

    def read(self, rows: np.ndarray, pixel_size_um: float | None, crop_size_px: int) -> np.ndarray:
        """See `LabelledCrops.read`."""
        if not len(rows):
            return np.zeros((0, len(self.panel.channels), crop_size_px, crop_size_px), dtype=np.uint16)
        return np.stack([self._read_one(int(row), pixel_size_um, crop_size_px) for row in rows])

    def _read_one(self, row: int, pixel_size_um: float | None, crop_size_px: int) -> np.ndarray:
        image = self.image(row)
        size_um = self.size_um(row, image)
        if pixel_size_um is None:
            return resample_crop(image.pixels, 1.0, 1.0, crop_size_px)
        if np.isnan(size_um):
            raise no_pixel_size(self.file(row))
        refuse_frame(image.pixels.shape, size_um, crop_size_px * pixel_size_um, self.file(row))
        return resample_crop(image.pixels, size_um, pixel_size_um, crop_size_px)

    def pixel_sizes(self, rows: np.ndarray) -> np.ndarray:
        """See `LabelledCrops.pixel_sizes`; opens every file whose metadata count."""
        return np.array([self._pixel_size(int(row)) for row in rows], dtype=np.float64)

    def _pixel_size(self, row: int) -> float:
        stated = float(self.stated_um[row])
        if not np.isnan(stated):
            return stated
        if self.file(row).suffix.lower() not in (".tif", ".tiff"):
            known = self.assumed_um or self.panel.pixel_size_um
            return float("nan") if known is None else known
        return self.size_um(row, self.image(row, check=False))

    def digests(self, rows: np.ndarray) -> list[bytes]:
        """SHA-256 of the bytes of each row's files."""
        return [file_digest(files_of_crop(self.file(int(row)), self.panel)) for row in rows]


def refuse_frame(shape: tuple[int, ...], size_um: float, field_um: float, where: Path) -> None:
    """Raise ImageError for a frame where a crop is wanted: all but its centre would be left unseen without a word."""
    height, width = shape[-2:]
    if min(height, width) * size_um <= MOST_FIELDS * field_um:
        return
    raise ImageError(
        f"is no crop of one event but a frame: only {field_um:.0f} um about its centre would be looked at",
        where=where,
        expected=f"a shorter side of at most {MOST_FIELDS * field_um:.0f} um, {MOST_FIELDS} times what is cut",
        found=f"{width} x {height} px, {width * size_um:.0f} x {height * size_um:.0f} um at {size_um:g} um per px",
        fix="find and classify the events of frames with ctcnet scan; where it is a crop, correct the pixel size",
    )


def mixed_dtypes(where: str | Path, first: np.dtype, found: np.dtype) -> ManifestError:
    """The error for an image of float32 counts among integer ones, or the other way round."""
    return ManifestError(
        "is of another kind than the other images, which a store and most models cannot mix",
        where=where,
        expected="float32" if first == np.float32 else "whole numbers (uint8, uint16)",
        found=str(found),
        fix="convert the images to one dtype",
    )


def no_pixel_size(where: str | Path) -> ImageError:
    """The error for an image whose pixel size is needed and unknown."""
    return ImageError(
        "has no pixel size",
        where=where,
        expected="um per pixel from the manifest's column pixel_size_um, OME metadata, the caller or the panel",
        fix="add the column, or state it with --pixel-size-um (in training --data.assumed_pixel_size_um)",
    )
