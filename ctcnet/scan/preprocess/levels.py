"""Background and scale of a cartridge's channels, from the leukocytes in a sample of its frames.

The rule is that of `ctcnet.cartridge_levels`, which the crops that networks are trained with are measured by as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ctcnet.cartridge_levels import NOISE_FACTOR, scale_from_leukocytes
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.preprocess.cell_patches import diameters_px
from ctcnet.scan.preprocess.frame_sample import FrameSample, SampledCells, measure_cells, outside_cells
from ctcnet.scan.preprocess.leukocytes import select_leukocytes
from ctcnet.scan.preprocess.levels_notes import LEAST_LEUKOCYTES, levels_notes

LEAST_NOISE_COUNTS = 0.29
"""Standard deviation of rounding to whole counts, 1 / sqrt(12)."""
LEAST_LEVEL_NOISE_COUNTS = 0.1
NUCLEUS_SHARE = 0.4
"""Height at which a nucleus is measured: the 40 % of the field notes."""


@dataclass(frozen=True)
class CartridgeLevels:
    """Levels of a cartridge; arrays are float32 (C,) in counts, NaN where nothing can be said.

    Attributes:
        background: median over pixels outside cells.
        scale: what a network's input is divided by, see `ctcnet.cartridge_levels.scale_from_leukocytes`.
        noise: standard deviation of the background's pixels, at least `LEAST_NOISE_COUNTS`.
        leukocytes: leukocytes that the scale rests on.
        cells: nucleated cells looked at.
        alone: whether only cells without a near neighbour were used.
        level_5, level_50, level_95: percentiles of the leukocytes' levels over background.
        level_log_sd: standard deviation of the logarithm of the leukocytes' levels (half the distance between its 16 %
            and 84 % points; levels are floored at the noise).
        centre_to_ring: level at the leukocytes' centre over that of a ring at a membrane's place.
        nucleus_diameter_um: median over leukocytes, at 40 % of the height; NaN without a nucleus channel.
        notes: what a user must know.
    """

    background: np.ndarray
    scale: np.ndarray
    noise: np.ndarray
    leukocytes: int
    cells: int
    alone: bool
    level_5: np.ndarray
    level_50: np.ndarray
    level_95: np.ndarray
    level_log_sd: np.ndarray
    centre_to_ring: np.ndarray
    nucleus_diameter_um: float
    notes: tuple[Note, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every channel has background and scale, so that they can stand in for the model's own."""
        return bool(np.isfinite(self.background).all() and np.isfinite(self.scale).all())


@dataclass(frozen=True)
class SampleFigures:
    """What levels need of one frame, without its pixels.

    Attributes:
        outside: (M, C) float32, pixels far from every event.
        patches: (K, C) float32, means over cell-sized discs there.
        cells: its nucleated cells.
        background, noise: (C,) float32, as the detector found them.
    """

    outside: np.ndarray
    patches: np.ndarray
    cells: SampledCells
    background: np.ndarray
    noise: np.ndarray


def sample_figures(sample: FrameSample, panel: Panel, pixel_size_um: float) -> SampleFigures:
    """What `combine_levels` needs of a frame."""
    outside, patches = outside_cells(sample, pixel_size_um)
    cells = measure_cells(sample, panel, pixel_size_um)
    return SampleFigures(outside, patches, cells, sample.background, sample.noise)


def measure_levels(samples: Sequence[FrameSample], panel: Panel, pixel_size_um: float) -> CartridgeLevels:
    """Levels of frames of one cartridge, see `combine_levels`."""
    return combine_levels([sample_figures(sample, panel, pixel_size_um) for sample in samples], panel, pixel_size_um)


def combine_levels(samples: Sequence[SampleFigures], panel: Panel, pixel_size_um: float) -> CartridgeLevels:
    """Background, scale and noise of every channel, with the warnings of `levels_notes`.

    Args:
        samples: of frames of one cartridge; none gives levels of which nothing can be said.
        panel: their channels.
        pixel_size_um: micrometres per pixel.
    """
    channels = len(panel.channels)
    if not samples:
        levels = _no_levels(channels)
        return replace(levels, notes=tuple(levels_notes(levels, panel, pixel_size_um)))
    background, noise = _background_and_noise(samples)
    level_noise = _noise_of_levels(np.concatenate([sample.patches for sample in samples]), noise)
    cells = SampledCells.of([sample.cells for sample in samples])
    chosen = select_leukocytes(cells.mean - background, level_noise, panel.roles)
    alone = int((chosen & cells.alone).sum()) >= LEAST_LEUKOCYTES
    if alone:
        chosen &= cells.alone
    levels = replace(
        _no_levels(channels),
        background=background.astype(np.float32),
        noise=np.maximum(noise, LEAST_NOISE_COUNTS).astype(np.float32),
        cells=len(chosen),
        leukocytes=int(chosen.sum()),
        alone=alone,
    )
    if levels.leukocytes >= LEAST_LEUKOCYTES:
        levels = _of_leukocytes(levels, cells, chosen, background, noise, panel, pixel_size_um)
    return replace(levels, notes=tuple(levels_notes(levels, panel, pixel_size_um)))


def _of_leukocytes(
    common: CartridgeLevels,
    cells: SampledCells,
    chosen: np.ndarray,
    background: np.ndarray,
    noise: np.ndarray,
    panel: Panel,
    pixel_size_um: float,
) -> CartridgeLevels:
    """`common` with what the chosen cells tell."""
    level = cells.mean[chosen] - background
    p5, p16, p50, p84, p95 = np.percentile(level, (5, 16, 50, 84, 95), axis=0)
    floor = np.maximum(noise, LEAST_NOISE_COUNTS)
    centre = np.median(cells.centre[chosen] - background, axis=0)
    ring = np.median(cells.ring[chosen] - background, axis=0)
    diameter_um = np.nan
    if "nucleus" in panel.roles:
        profiles = cells.profile[chosen] - background[panel.roles.index("nucleus")]
        diameter_px = diameters_px(profiles, NUCLEUS_SHARE)
        diameter_um = float(np.median(diameter_px[np.isfinite(diameter_px)])) * pixel_size_um
    return replace(
        common,
        scale=scale_from_leukocytes(p50, noise, panel.roles).astype(np.float32),
        level_5=p5.astype(np.float32),
        level_50=p50.astype(np.float32),
        level_95=p95.astype(np.float32),
        level_log_sd=(np.log(np.maximum(p84, floor) / np.maximum(p16, floor)) / 2).astype(np.float32),
        centre_to_ring=(centre / np.maximum(ring, floor)).astype(np.float32),
        nucleus_diameter_um=diameter_um,
    )


def _no_levels(channels: int) -> CartridgeLevels:
    nothing = np.full(channels, np.nan, np.float32)
    return CartridgeLevels(
        background=nothing,
        scale=nothing,
        noise=nothing,
        leukocytes=0,
        cells=0,
        alone=False,
        level_5=nothing,
        level_50=nothing,
        level_95=nothing,
        level_log_sd=nothing,
        centre_to_ring=nothing,
        nucleus_diameter_um=float("nan"),
    )


def _background_and_noise(samples: Sequence[SampleFigures]) -> tuple[np.ndarray, np.ndarray]:
    outside = np.concatenate([sample.outside for sample in samples])
    if len(outside) == 0:
        every_frame = [[sample.background for sample in samples], [sample.noise for sample in samples]]
        background, noise = np.median(np.array(every_frame, dtype=np.float64), axis=1)
        return background, noise
    background = np.median(outside, axis=0)
    return background, NOISE_FACTOR * np.median(np.abs(outside - background), axis=0)


def _noise_of_levels(patches: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Standard deviation of a cell's level where there is no cell; that of single pixels where there is no room."""
    deviation = noise
    if len(patches) >= LEAST_LEUKOCYTES:
        deviation = NOISE_FACTOR * np.median(np.abs(patches - np.median(patches, axis=0)), axis=0)
    return np.maximum(deviation, LEAST_LEVEL_NOISE_COUNTS)
