"""An endless stream of simulated crops of random panels, normalised, mixed and without files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ctcnet.normalization import normalize, per_crop_levels, scale_floor
from ctcnet.panel import Panel
from ctcnet.resampling import resampling_matrix
from ctcnet.simulate.cartridge_levels import levels_of_crops
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.random_panels import TUMOUR_ROLES, draw_panel

PANEL_SHARE = 0.5
EIGHT_BIT_SHARE = 0.35
"""Share of those that were kept as 8-bit pictures, whatever the panel's camera can do, as on the real slide."""
PIXEL_SIZES_UM = (0.3, 1.0)
APERTURES = (0.4, 0.8)
DIFFICULTIES = (0.5, 1.4)
DROP_SHARE = 0.3
LARGEST_INPUT = 60_000.0
"""Normalised values are clipped here, which float16 holds."""
CLASS_SHARES: tuple[float, ...] = (0.22, 0.28, 0.17, 0.17, 0.16)
"""Share of each of `composition.CLASSES`: balanced enough to learn from, the leukocytes' variety seen most."""


@dataclass(frozen=True)
class StreamSettings:
    """What a stream draws from.

    Attributes:
        panels: panels that must be served well.
        crop_size_px, pixel_size_um: of the network's input.
        per_crop: whether each crop is normalised by itself, as display merges are, or with its cartridge's levels.
        groups: cartridges of a piece.
        group_crops: crops of each cartridge, of which the leukocytes also give its levels.
        pool: pieces that are mixed with each other.
        uses: how often each crop is given, turned or mirrored, before its piece is replaced.
        part_crops, parts: crops of each piece and pieces in a batch.
        class_shares: of each of `composition.CLASSES` in every cartridge.
        panel_share: share of pieces that show one of `panels`; the others show a random one.
        platelet: whether the random ones have a platelet marker; None for either.
        drop_share: share of parts from which channels are left out.
    """

    panels: tuple[Panel, ...]
    crop_size_px: int
    pixel_size_um: float
    per_crop: bool = False
    groups: int = 24
    group_crops: int = 40
    pool: int = 12
    uses: float = 3.0
    part_crops: int = 64
    parts: int = 4
    class_shares: tuple[float, ...] = CLASS_SHARES
    panel_share: float = PANEL_SHARE
    drop_share: float = DROP_SHARE
    platelet: bool | None = None


class Imaging(NamedTuple):
    """How the cartridges of a piece were imaged.

    Attributes:
        pixel_size_um: of the frames that the crops are cut from.
        numerical_aperture: of the objective.
        difficulty: see `groups.draw_groups`.
    """

    pixel_size_um: float
    numerical_aperture: float
    difficulty: float


@dataclass(frozen=True)
class Piece:
    """Crops of a few cartridges of one panel.

    Attributes:
        roles: of the channels.
        x: (N, C, S, S) float16, normalised.
        labels: (N,) int64, rows of `composition.CLASSES`.
        groups: (N,) int64, cartridge of each crop.
        background, scale: (G, C) float64, counts of each cartridge.
    """

    roles: tuple[str, ...]
    x: Tensor
    labels: Tensor
    groups: Tensor
    background: np.ndarray
    scale: np.ndarray


class Part(NamedTuple):
    """Crops of one panel in a batch.

    Attributes:
        x: (N, C, S, S) float16, normalised.
        roles: of the channels.
        labels: (N,) int64.
        taught: (N, K) float32, a teacher's probabilities of the classes; None without one.
    """

    x: Tensor
    roles: tuple[str, ...]
    labels: Tensor
    taught: Tensor | None = None


Teacher = Callable[[Piece], Tensor]
"""Gives its probabilities of the classes, (N, K) float32 on the piece's device, for all crops of a piece."""


def simulate_piece(
    panel: Panel,
    settings: StreamSettings,
    imaging: Imaging,
    seed: int,
    effects: Effects,
    device: str | torch.device = "cpu",
) -> Piece:
    """Simulate crops of `settings.groups` cartridges, bring them to the network's scale and normalise them as a scan
    would: with levels measured on the few leukocytes of each cartridge, or each crop by itself.
    """
    step_px = settings.pixel_size_um / imaging.pixel_size_um
    same = abs(step_px - 1) < 1e-6
    simulator = CropSimulator(
        panel,
        crop_size_px=settings.crop_size_px if same else int(np.ceil(settings.crop_size_px * step_px)) + 4,
        pixel_size_um=imaging.pixel_size_um,
        seed=seed,
        num_groups=settings.groups,
        scanners=max(1, settings.groups // 3),
        difficulty=imaging.difficulty,
        numerical_aperture=imaging.numerical_aperture,
        device=device,
        effects=effects,
    )
    labels, groups = _plan(settings, np.random.default_rng(seed))
    counts = simulator.sample(labels, groups).counts
    background, scale = levels_of_crops(simulator, counts, labels, groups)
    pixels = counts.float()
    if not same:
        weights, _ = resampling_matrix(simulator.crop_size_px, settings.crop_size_px, step_px)
        shrink = torch.from_numpy(weights.copy()).to(pixels.device)
        pixels = (shrink @ pixels @ shrink.T).round_()
    if settings.per_crop:
        pixels = _as_lone_crops(pixels, np.random.default_rng(seed + 1))
    x = _normalised(pixels, settings, panel, background[groups.numpy()], scale[groups.numpy()])
    return Piece(panel.roles, x, labels.to(x.device), groups.to(x.device), background, scale)


def class_frequencies(settings: StreamSettings) -> tuple[float, ...]:
    """Share of each class among the crops of a stream: those asked for in whole crops of a cartridge."""
    return tuple((_class_numbers(settings) / settings.group_crops).tolist())


def _class_numbers(settings: StreamSettings) -> np.ndarray:
    """Crops of each class in a cartridge, int64, by rounding the cumulative shares."""
    shares = np.array(settings.class_shares)
    edges = np.round(np.concatenate([[0], np.cumsum(shares / shares.sum())]) * settings.group_crops).astype(int)
    return np.diff(edges)


def _plan(settings: StreamSettings, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Labels and cartridges, in random order; every cartridge holds the same number of each class."""
    of_group = np.repeat(np.arange(len(settings.class_shares)), _class_numbers(settings))
    order = rng.permutation(settings.groups * settings.group_crops)
    labels = np.tile(of_group, settings.groups)[order]
    groups = np.repeat(np.arange(settings.groups), settings.group_crops)[order]
    return torch.from_numpy(labels), torch.from_numpy(groups)


def _normalised(
    pixels: Tensor, settings: StreamSettings, panel: Panel, background: np.ndarray, scale: np.ndarray
) -> Tensor:
    levels = (background, scale)
    if settings.per_crop:
        pictures = panel.rgb_order is not None
        levels = per_crop_levels(pixels.cpu().numpy(), scale_floor(panel.full_scale), pictures)
    given = [torch.from_numpy(np.asarray(values, dtype=np.float32)).to(pixels.device) for values in levels]
    return normalize(pixels, *given).clamp_(-LARGEST_INPUT, LARGEST_INPUT).half()


def _as_lone_crops(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of the crops (N, C, S, S) as pictures narrower than the network's field: filled up with the median of their
    border, as `ctcnet.resampling.resample_crop` does.
    """
    size = pixels.shape[-1]
    pixels = pixels.clone()
    for row in np.flatnonzero(rng.random(len(pixels)) < 0.5):
        margin = int(rng.integers(1, round(0.3 * size)))
        inner = slice(margin, size - margin)
        seen = pixels[row, :, inner, inner].clone()
        rim = torch.cat([seen[:, 0], seen[:, -1], seen[:, :, 0], seen[:, :, -1]], dim=1)
        pixels[row] = rim.median(dim=1).values[:, None, None]
        pixels[row, :, inner, inner] = seen
    return pixels


class CropStream(IterableDataset[list[Part]]):
    """Batches without end: each mixes parts of several panels, turned, mirrored and with channels left out.

    Each worker of a DataLoader has a stream of its own. The same seed, number of workers and device give the same
    batches on a CPU.

    Args:
        settings: what to draw from.
        seed: 0 or more.
        effects: of the simulator.
        device: where to simulate; 'cpu' in workers.
        teacher: whose answers go with the crops. It sees every channel, those too that are left out afterwards.
    """

    def __init__(
        self,
        settings: StreamSettings,
        seed: int,
        effects: Effects,
        device: str | torch.device = "cpu",
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.seed, self.effects, self.device = settings, seed, effects, device
        self.teacher = teacher

    def __iter__(self) -> Iterator[list[Part]]:
        worker = get_worker_info()
        torch.set_num_threads(1) if worker is not None else None
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        pool: list[_Deck] = []
        while True:
            if len(pool) < self.settings.pool:
                piece = self._piece(rng)
                taught = None if self.teacher is None else self.teacher(piece)
                pool.append(_Deck(piece, self.settings, rng, taught))
            while len(pool) >= min(self.settings.parts, self.settings.pool):
                chosen = rng.choice(len(pool), self.settings.parts, replace=False)
                yield [pool[index].deal(rng) for index in chosen]
                pool = [deck for deck in pool if not deck.used_up]
                if len(pool) < self.settings.pool:
                    break

    def _piece(self, rng: np.random.Generator) -> Piece:
        shipped = self.settings.panels
        if shipped and rng.random() < self.settings.panel_share:
            panel = shipped[rng.integers(len(shipped))]
            panel = replace(panel, bit_depth=8) if rng.random() < EIGHT_BIT_SHARE else panel
        else:
            panel = draw_panel(rng)
            while self.settings.platelet not in (None, "platelet" in panel.roles):
                panel = draw_panel(rng)
        imaging = draw_imaging(panel, self.settings.pixel_size_um, rng)
        seed = int(rng.integers(2**62))
        return simulate_piece(panel.network_panel(), self.settings, imaging, seed, self.effects, self.device)


def draw_imaging(panel: Panel, pixel_size_um: float, rng: np.random.Generator) -> Imaging:
    """The panel's own pixel size, or the network's, or one of `PIXEL_SIZES_UM`; any aperture and difficulty."""
    chance = rng.random()
    if chance < 0.4:
        pixel_size_um = float(np.clip(panel.pixel_size_um or pixel_size_um, *PIXEL_SIZES_UM))
    elif chance < 0.7:
        pixel_size_um = float(rng.uniform(*PIXEL_SIZES_UM))
    aperture = float(np.exp(rng.uniform(*np.log(APERTURES))))
    return Imaging(pixel_size_um, aperture, float(rng.uniform(*DIFFICULTIES)))


class _Deck:
    """A piece whose crops are dealt in random order until all were given `uses` times."""

    def __init__(self, piece: Piece, settings: StreamSettings, rng: np.random.Generator, taught: Tensor | None) -> None:
        self._piece, self._settings, self._taught = piece, settings, taught
        self._left = int(settings.uses * len(piece.labels))
        self._order = rng.permutation(len(piece.labels))
        self._at = 0

    @property
    def used_up(self) -> bool:
        return self._left < self._settings.part_crops

    def deal(self, rng: np.random.Generator) -> Part:
        count = self._settings.part_crops
        if self._at + count > len(self._order):
            self._order, self._at = rng.permutation(len(self._order)), 0
        rows = torch.from_numpy(self._order[self._at : self._at + count]).to(self._piece.x.device)
        self._at, self._left = self._at + count, self._left - count
        kept = _kept_channels(self._piece.roles, self._settings.drop_share, rng)
        x = self._piece.x[rows][:, kept]
        if rng.random() < 0.5:
            x = x.transpose(2, 3)
        flips = [axis for axis in (2, 3) if rng.random() < 0.5]
        roles = tuple(self._piece.roles[i] for i in kept)
        taught = None if self._taught is None else self._taught[rows]
        return Part(x.flip(flips).contiguous(), roles, self._piece.labels[rows], taught)


def _kept_channels(roles: tuple[str, ...], drop_share: float, rng: np.random.Generator) -> list[int]:
    """All channels, or (`drop_share`) some of them: the nucleus and a tumour marker always."""
    everything = list(range(len(roles)))
    if rng.random() >= drop_share:
        return everything
    kept = [i for i in everything if roles[i] == "nucleus" or rng.random() < 0.7]
    tumour = [i for i in everything if roles[i] in TUMOUR_ROLES]
    if tumour and not set(kept) & set(tumour):
        kept.append(tumour[rng.integers(len(tumour))])
    return sorted(kept) if kept else everything
