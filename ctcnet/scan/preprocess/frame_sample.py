"""Frames that a cartridge's levels are measured on: the pixels outside their cells, and the cells themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from torch import Tensor

from ctcnet.cartridge_levels import CELL_RADIUS_UM
from ctcnet.panel import Panel
from ctcnet.scan.event_kinds import CELL, OBJECT
from ctcnet.scan.preprocess.cell_patches import (
    disc_means,
    distance_to_events_px,
    has_no_neighbour,
    is_whole,
    radial_profiles,
)

ALONE_UM = 10.0
"""A cell without another one this near is not brightened by neighbours."""
OUTSIDE_UM = 11.0
"""Background is taken beyond this distance from every event: 0.35 of the side of the simulated crops (32 um)."""
CROWDED_OUTSIDE_UM = 7.0
"""The same, where cells lie so close that hardly any pixel is that far from all of them."""
LEAST_OUTSIDE_SHARE = 0.02
OUTSIDE_PIXELS = 20_000
"""About so many pixels of a frame are taken at most, evenly spread."""
OUTSIDE_STEP_PX = 3
"""Every third pixel along x and y is looked at; a median over more is no surer."""
CENTRE_UM, RING_UM = 1.25, (3.0, 4.25)
"""Where a filled disc (nucleus) is bright and where a stained membrane is."""
PROFILE_UM = 12.0


@dataclass(frozen=True)
class FrameSample:
    """One frame of the sample that a cartridge's levels are measured on.

    Attributes:
        x_px, y_px: (N,) centres of its events.
        kind: (N,) uint8, 0 for a nucleated cell, 1 for an object without a nucleus, 2 for a cluster.
        counts: (C, H, W) float32, registered and unmixed.
        background, noise: (C,) as detection measured them on this frame; used only where no pixel is free of cells.
        valid: (H, W) bool, pixels that every channel has; None where all are.
    """

    x_px: np.ndarray
    y_px: np.ndarray
    kind: np.ndarray
    counts: Tensor
    background: np.ndarray
    noise: np.ndarray
    valid: Tensor | None = None


@dataclass(frozen=True)
class SampledCells:
    """Nucleated cells, one a row.

    Attributes:
        mean, centre, ring: float32 (N, C), means of raw counts over the cell's disc, its centre and its ring.
        alone: bool (N,), whether no other cell or object lies within `ALONE_UM`.
        profile: float32 (N, R), nucleus channel (the first one where there is none) over rings of one pixel.
    """

    mean: np.ndarray
    centre: np.ndarray
    ring: np.ndarray
    alone: np.ndarray
    profile: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[SampledCells]) -> SampledCells:
        """The cells of all parts."""
        return cls(*(np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(cls)))


def outside_cells(sample: FrameSample, pixel_size_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (M, C) far from every event, and means (K, C) over cell-sized discs there."""
    step = OUTSIDE_STEP_PX
    shape = (sample.counts.shape[1], sample.counts.shape[2])
    distance_um = distance_to_events_px(sample.x_px, sample.y_px, shape, step) * pixel_size_um
    usable = np.ones_like(distance_um, dtype=bool)
    if sample.valid is not None:
        usable = sample.valid[::step, ::step].cpu().numpy()
    outside = usable & (distance_um > OUTSIDE_UM)
    if outside.mean() < LEAST_OUTSIDE_SHARE:
        outside = usable & (distance_um > CROWDED_OUTSIDE_UM)
    rows, columns = np.nonzero(outside)
    every = max(1, len(rows) // OUTSIDE_PIXELS)
    pixels = sample.counts[:, rows[::every] * step, columns[::every] * step].T.cpu().numpy()
    radius_px = max(CELL_RADIUS_UM / pixel_size_um, 1.0)
    apart = max(1, round(2 * radius_px / step))
    spaced = (rows % apart == 0) & (columns % apart == 0)
    y_px, x_px = rows[spaced] * float(step), columns[spaced] * float(step)
    whole = is_whole(x_px, y_px, shape, radius_px)
    return pixels, disc_means(sample.counts, x_px[whole], y_px[whole], radius_px)


def measure_cells(sample: FrameSample, panel: Panel, pixel_size_um: float) -> SampledCells:
    """The sample's nucleated cells that are seen whole and are not members of clusters only."""
    single = np.isin(sample.kind, (CELL, OBJECT))
    alone = np.zeros(len(single), dtype=bool)
    alone[single] = has_no_neighbour(sample.x_px[single], sample.y_px[single], ALONE_UM / pixel_size_um)
    shape = (sample.counts.shape[1], sample.counts.shape[2])
    reach_px = max(RING_UM[1], PROFILE_UM) / pixel_size_um
    used = (sample.kind == CELL) & is_whole(sample.x_px, sample.y_px, shape, reach_px)
    if sample.valid is not None:
        rows, columns = sample.y_px[used].round().astype(int), sample.x_px[used].round().astype(int)
        used[used] = sample.valid.cpu().numpy()[rows, columns]
    x_px, y_px = sample.x_px[used], sample.y_px[used]
    radius, centre, inner, outer = (
        max(um / pixel_size_um, least)
        for um, least in ((CELL_RADIUS_UM, 1), (CENTRE_UM, 1), (RING_UM[0], 1), (RING_UM[1], 3))
    )
    nucleus = panel.roles.index("nucleus") if "nucleus" in panel.roles else 0
    return SampledCells(
        disc_means(sample.counts, x_px, y_px, radius),
        disc_means(sample.counts, x_px, y_px, centre),
        disc_means(sample.counts, x_px, y_px, outer, inner),
        alone[used],
        radial_profiles(sample.counts[nucleus], x_px, y_px, round(PROFILE_UM / pixel_size_um)),
    )
