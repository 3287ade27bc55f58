"""Frames drawn from formulas: Gaussian nuclei, membranes as rings, cells placed to a fraction of a pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

PIXEL_SIZE_UM = 0.64
NUCLEUS_SIGMA_UM = 2.2
RING_RADIUS_UM, RING_SIGMA_UM = 2.8, 1.4


@dataclass
class FieldOfCells:
    """Cells of one frame and the channels that show them."""

    x_px: np.ndarray
    y_px: np.ndarray
    shape: tuple[int, int]

    def draw(
        self,
        kind: str = "nucleus",
        *,
        shift_px: tuple[float, float] = (0.0, 0.0),
        height: float = 200.0,
        background: float = 50.0,
        noise: float = 3.0,
        seed: int = 1,
        which: np.ndarray | None = None,
    ) -> np.ndarray:
        """One channel, float32: `kind` 'nucleus' (Gaussian spots) or 'ring'; cells displaced by `shift_px` (x, y)."""
        image = np.random.default_rng(seed).normal(background, noise, self.shape)
        reach = int(10 / PIXEL_SIZE_UM)
        cells = np.arange(len(self.x_px)) if which is None else np.flatnonzero(which)
        for x, y in zip(self.x_px[cells] + shift_px[0], self.y_px[cells] + shift_px[1], strict=True):
            rows = np.arange(max(0, int(y) - reach), min(self.shape[0], int(y) + reach + 2))
            columns = np.arange(max(0, int(x) - reach), min(self.shape[1], int(x) + reach + 2))
            if len(rows) == 0 or len(columns) == 0:
                continue
            r_um = np.hypot(rows[:, None] - y, columns - x) * PIXEL_SIZE_UM
            centre, sigma = (0.0, NUCLEUS_SIGMA_UM) if kind == "nucleus" else (RING_RADIUS_UM, RING_SIGMA_UM)
            image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += height * np.exp(
                -((r_um - centre) ** 2) / (2 * sigma**2)
            )
        return image.astype(np.float32)


def spread_cells(count: int, shape: tuple[int, int], seed: int = 0, least_um: float = 12.0) -> FieldOfCells:
    """So many cells at random places, none nearer to another one than `least_um`."""
    draws = np.random.default_rng(seed)
    places: list[np.ndarray] = []
    while len(places) < count:
        place = draws.uniform((0, 0), (shape[1] - 1, shape[0] - 1))
        if all(np.hypot(*(place - other)) * PIXEL_SIZE_UM >= least_um for other in places):
            places.append(place)
    points = np.array(places).reshape(-1, 2)
    return FieldOfCells(points[:, 0].astype(np.float32), points[:, 1].astype(np.float32), shape)


@pytest.fixture(scope="session")
def cells_at() -> Callable[..., FieldOfCells]:
    """`spread_cells`."""
    return spread_cells


@pytest.fixture(scope="session")
def field() -> FieldOfCells:
    """120 cells in a frame of 360 x 480 px."""
    return spread_cells(120, (360, 480))


@pytest.fixture(scope="session")
def stack() -> Callable[..., torch.Tensor]:
    """Channels as one tensor (C, H, W)."""
    return lambda *channels: torch.from_numpy(np.stack(channels))
