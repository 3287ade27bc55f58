"""Labelled crops: one row per image, whatever kind of source holds the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Protocol

import numpy as np

from ctcnet.errors import ManifestError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel

Rows = np.ndarray | Sequence[int] | slice


class CropSource(Protocol):
    """What holds the pixels: image files or a packed store. Rows are those of the source, not of a subset."""

    def read(self, rows: np.ndarray, pixel_size_um: float | None, crop_size_px: int) -> np.ndarray:
        """Crops (n, C, S, S) at the scale asked for, uint16 or float32."""
        ...

    def pixel_sizes(self, rows: np.ndarray) -> np.ndarray:
        """Micrometres per pixel, float64 (n,), NaN where nothing states it; may open the files."""
        ...

    def digests(self, rows: np.ndarray) -> list[bytes]:
        """SHA-256 of the bytes of the image files, 32 bytes for each row."""
        ...


@dataclass(frozen=True)
class LabelledCrops:
    """Images with what is known of each, as columns of equal length N.

    Attributes:
        panel: channels, in the order in which `read` returns them.
        schema: classes of `targets`; None where the crops are unlabelled.
        path: object (N,), the path as the manifest states it.
        targets: float32 (N, K), rows sum to 1: mean over the readers of a crop; None where unlabelled.
        group: object (N,), patient or other unit that must not straddle splits; "" where not stated.
        cartridge, batch, split: object (N,), "" where not stated.
        weight: float32 (N,), greater than or equal to 0; 1 where not stated.
        pixel_size_um: float64 (N,), as the manifest or the store states it, else NaN; see `pixel_sizes`.
        background, scale: float32 (N, C), levels of the cartridge in counts, NaN where not stated.
        source: what holds the pixels.
        source_rows: int64 (N,), the rows' places in `source`.
        notes: sentences that a user should read, such as how groups were made where none are known.
        simulated: whether the crops are simulated; None where that is not known.
    """

    panel: Panel
    schema: LabelSchema | None
    path: np.ndarray
    targets: np.ndarray | None
    group: np.ndarray
    cartridge: np.ndarray
    batch: np.ndarray
    split: np.ndarray
    weight: np.ndarray
    pixel_size_um: np.ndarray
    background: np.ndarray
    scale: np.ndarray
    source: CropSource
    source_rows: np.ndarray
    notes: tuple[str, ...] = ()
    simulated: bool | None = None

    def __len__(self) -> int:
        return len(self.path)

    @property
    def labels(self) -> np.ndarray:
        """Class with the largest target, int64 (N,); the first in the schema's order where readers are even.

        Raises:
            ManifestError: the crops are unlabelled.
        """
        return self.require_targets().argmax(axis=1)

    @property
    def has_levels(self) -> np.ndarray:
        """bool (N,): whether background and scale are stated for every channel that a network is fed."""
        fed = np.array([role != "none" for role in self.panel.roles])
        levels = np.concatenate([self.background[:, fed], self.scale[:, fed]], axis=1)
        return np.asarray(np.isfinite(levels).all(axis=1))

    def require_targets(self) -> np.ndarray:
        """`targets`, or ManifestError where the crops are unlabelled."""
        if self.targets is None:
            raise ManifestError(
                "the crops have no labels",
                expected="a manifest with the columns path, label, group, or a folder of class folders",
            )
        return self.targets

    def read(self, rows: Rows, pixel_size_um: float | None, crop_size_px: int) -> np.ndarray:
        """Read crops and bring them to one scale and size; the only way from a file to a network's input.

        Args:
            rows: row numbers (n,) or a slice; any order, repeats allowed.
            pixel_size_um: micrometres per pixel wanted; None leaves each crop's scale as it is and only cuts or
                pads it about its centre.
            crop_size_px: side of the square wanted.

        Returns:
            (n, C, S, S), uint16 where every image read holds integers, else float32; raw counts.

        Raises:
            ImageError: a file cannot be read, or its pixel size is needed and unknown.
            PanelError: its channels are not those of the panel.
        """
        return self.source.read(self.source_rows[rows], pixel_size_um, crop_size_px)

    def pixel_sizes(self, rows: Rows = slice(None)) -> np.ndarray:
        """Micrometres per pixel of each image after looking into the files, float64 (n,), NaN where unknown.

        The manifest's column counts first, then the file's OME metadata, then the caller's statement, then the panel.
        """
        return self.source.pixel_sizes(self.source_rows[rows])

    def subset(self, rows: Rows | np.ndarray) -> LabelledCrops:
        """The rows asked for (row numbers, a slice or a boolean mask), in that order."""
        columns = ("path", "group", "cartridge", "batch", "split", "weight", "pixel_size_um", "background", "scale")
        picked = {name: getattr(self, name)[rows] for name in (*columns, "source_rows")}
        return replace(self, **picked, targets=None if self.targets is None else self.targets[rows])

    @cached_property
    def sha256(self) -> str:
        """Hash of the crops and what is taught with them, 64 hexadecimal digits.

        Over the rows in order: path, targets, group, weight, levels and the SHA-256 of the image file's bytes (of all
        its channels' files, one after another). It does not depend on the folder in which the manifest stands, and a
        store has the hash of the files that it was packed from. Files are read once for it, a store's pixels are not.
        """
        return training_data_hash(self, self.source.digests(self.source_rows))


def training_data_hash(crops: LabelledCrops, digests: Sequence[bytes]) -> str:
    """`LabelledCrops.sha256` from the SHA-256 of each row's image files."""
    total = sha256()
    for name in crops.panel.markers + (crops.schema.classes if crops.schema else ()):
        total.update(name.encode() + b"\0")
    targets = np.zeros((len(crops), 0)) if crops.targets is None else crops.targets
    numbers = np.concatenate([targets, crops.weight[:, None], crops.background, crops.scale], axis=1).astype("<f4")
    numbers[np.isnan(numbers)] = np.nan  # one bit pattern for every NaN
    for row, digest in enumerate(digests):
        text = f"{crops.path[row]}\0{crops.group[row]}\0"
        total.update(text.encode() + numbers[row].tobytes() + digest)
    return total.hexdigest()
