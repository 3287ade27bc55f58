"""Events of one kind in a batch of images, before they are put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

_FAR_UM = 1e5


@dataclass(frozen=True)
class Found:
    """Events of a batch of images.

    Attributes:
        image: (N,) int64, row of the batch.
        y, x: (N,) float64, centre in working pixels.
        diameter_um: (N,) float64, of the stained area.
        snr: (N,) float64.
    """

    image: np.ndarray
    y: np.ndarray
    x: np.ndarray
    diameter_um: np.ndarray
    snr: np.ndarray

    def __len__(self) -> int:
        """Number of events."""
        return len(self.image)

    def take(self, rows: np.ndarray) -> Found:
        """The events at `rows` (indices or mask)."""
        return Found(*(getattr(self, name)[rows] for name in Found.__dataclass_fields__))

    def places_um(self, pixel_um: float) -> np.ndarray:
        """(N, 2) y and x in um, the images of a batch far apart."""
        return places_um(self.image, self.y, self.x, pixel_um)


def join(parts: list[Found]) -> Found:
    """Events of several channels, one after the other; at least one part."""
    return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in Found.__dataclass_fields__))


def places_um(image: np.ndarray, y: np.ndarray, x: np.ndarray, pixel_um: float) -> np.ndarray:
    """(N, 2) y and x in um of places in working pixels, the images of a batch far apart."""
    return np.column_stack((y * pixel_um, x * pixel_um + image * _FAR_UM)).astype(np.float64)


def to_numpy(values: Tensor) -> np.ndarray:
    """Values on the host; numbers with a fraction in double precision."""
    array = values.cpu().numpy()
    return array.astype(np.float64) if values.is_floating_point() else array
