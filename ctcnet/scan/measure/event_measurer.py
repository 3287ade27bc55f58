"""Measurement of events on a frame: areas and diameters in um, stain per channel in camera counts."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ctcnet.errors import PanelError
from ctcnet.panel import Panel
from ctcnet.scan.measure.background import local_background
from ctcnet.scan.measure.cluster_rows import fill_cluster_rows
from ctcnet.scan.measure.masks import flood, opened, perimeter_px
from ctcnet.scan.measure.neighbours import Place, find_neighbours, outside_cells, own_territory
from ctcnet.scan.measure.nuclei import count_nuclei
from ctcnet.scan.measure.patches import (
    Patches,
    barred,
    clear_outermost,
    cut_patches,
    exceeds,
    pixel_count,
    smooth,
    squared_distance,
    weight,
    weighted_sum,
)

UNSTAINED_ROLES: tuple[str, ...] = ("transmitted", "scatter", "none")
"""Roles that are measured, but whose light does not make a cell's outline."""

HALF_SIZES_UM: tuple[float, ...] = (9.6, 14.0, 22.0, 40.0)
"""Half widths of the patches; an event that reaches the rim of its patch is measured again on the next larger one."""

RING_UM = 4.5
"""Least distance between the detector's outline of an event and the rim of its patch."""

NUCLEUS_SHARE = 0.4
"""Share of its peak above which the nuclear stain counts as nucleus, as in the measurements on real images."""

STAIN_SHARE = 0.55
"""Share of its bright level above which another stain counts as part of the cell. The bright level, the mean of the
pixels above the mean, is about 0.8 of the peak of a ring or dome. Gives the CD45 diameters measured on real images."""

CK_SHARE = 0.3
"""Share of its bright level above which cytokeratin counts as lying over the nucleus. Lower than that of an outline:
in real CTCs cytokeratin over the nucleus has 0.36 to 0.98 times the level of the cytoplasm, and the eye follows it."""

OPENING_UM = 1.2
"""Specks and threads up to about twice this width are cut off a cell's outline; platelets are not."""

LEAST_SNR = 3.0
"""Least height of a stained pixel in standard deviations of the noise."""

BACKGROUND_GAP_UM = 1.5
"""Pixels nearer than this to the detector's outline of a cell are no background."""

BACKGROUND_REACH_UM = 9.0
"""Pixels farther than this from the detector's outline of a cell are not looked at."""

BACKGROUND_SAMPLES = 12
"""Samples of the background along each axis of a patch."""

SEED_UM = 2.0
"""A mask must come within this distance, or half the event's radius, of its centre."""

LEAST_RADIUS_UM, LARGEST_RADIUS_UM = 3.0, 12.0
"""Bounds of the detector's radius where it limits the search for the peak and the background."""

SATURATED_SHARE = 0.995
"""A pixel at this share of full scale is saturated; below 1 because shifts are undone by interpolation."""

CHUNK_BYTES = {"cpu": 8_000_000, "cuda": 400_000_000}
"""Memory of one chunk's patches: some hundred events stay in a processor's cache, or what fills a GPU. With fewer of
them at once the calls of torch take longer than their work."""


class Events(Protocol):
    """Detected events as numpy arrays of N rows, see `ctcnet.scan.detect`."""

    @property
    def x_px(self) -> np.ndarray: ...
    @property
    def y_px(self) -> np.ndarray: ...
    @property
    def kind(self) -> np.ndarray: ...
    @property
    def diameter_um(self) -> np.ndarray: ...
    @property
    def parent(self) -> np.ndarray: ...
    @property
    def crowded(self) -> np.ndarray: ...
    @property
    def background(self) -> np.ndarray: ...


class EventMeasurer:
    """Measures the events of one image after the other.

    Args:
        panel: channels of the images; its bit depth tells saturation.
        pixel_size_um: micrometres per pixel of the images.
        device: where the images are measured.

    Raises:
        PanelError: the panel has no channel of role 'nucleus'.
    """

    def __init__(self, panel: Panel, pixel_size_um: float, device: str | torch.device = "cpu") -> None:
        if "nucleus" not in panel.roles:
            raise PanelError(
                "has no nucleus channel", where=f"panel '{panel.name}'", expected="one channel of role nucleus"
            )
        self.panel = panel
        self.pixel_size_um = float(pixel_size_um)
        self.device = torch.device(device)
        self._nucleus = panel.roles.index("nucleus")
        self._stained = [i for i, role in enumerate(panel.roles) if role not in UNSTAINED_ROLES]
        self._platelet = [i for i in self._stained if panel.roles[i] == "platelet"]
        self._bodies = [i for i in self._stained if panel.roles[i] != "platelet"]
        self._opening_px = round(OPENING_UM / self.pixel_size_um)
        self._epithelial = [i for i, role in enumerate(panel.roles) if role == "epithelial"]

    @torch.inference_mode()
    def measure(self, counts: Tensor, events: Events, noise: np.ndarray) -> dict[str, np.ndarray]:
        """Measure all events of one image.

        A pixel belongs to the event it is nearest to, sizes considered. The nucleus is what exceeds 40 % of its own
        peak (`NUCLEUS_SHARE`) and 3 standard deviations of the noise and hangs together with the centre; the cell is
        the union of the nucleus and of what exceeds `STAIN_SHARE` of its bright level in the other stained channels,
        likewise. Rows of clusters take the union of their members; an object has no nucleus.

        Args:
            counts: (C, H, W) float32, camera counts, finite.
            events: the events on it; positions lie in the image.
            noise: (C,) standard deviation of the noise in counts, above 0.

        Returns:
            Arrays of shape (N,): `diameter_um`, `area_um2`, `nucleus_diameter_um`, `nucleus_area_um2` (diameters of the
            disc of equal area; 0 where nothing exceeds the thresholds), `nucleus_count` int16, `nucleus_in_ck` (NaN
            without an epithelial channel or a nucleus), `circularity` (4 pi area / outline^2, at most 1; NaN for
            clusters and where there is no area), for every marker M `mean_M` and `max_M` (over the cell, above the
            local background), `background_M`, `snr_M` (mean over noise), `positive_area_um2_M`, all float32,
            `saturated` bool, and `crowded` bool as the detector says it.
        """
        counts = counts.to(self.device, torch.float32)
        total = len(events.x_px)
        table = self._empty(total)
        radius_um = np.clip(np.asarray(events.diameter_um, np.float32) / 2, LEAST_RADIUS_UM, LARGEST_RADIUS_UM)
        single = np.flatnonzero(events.kind != 2)
        if len(single):
            frame = _Frame(counts, events, single, radius_um[single], self.pixel_size_um)
            self._measure_single(frame, torch.as_tensor(noise, dtype=torch.float32, device=self.device), table)
        fill_cluster_rows(table, events.kind, events.parent, self.panel.markers, np.asarray(noise, np.float32))
        return {**table, "crowded": np.array(events.crowded, bool)}

    def _empty(self, total: int) -> dict[str, np.ndarray]:
        names = ["diameter_um", "area_um2", "nucleus_diameter_um", "nucleus_area_um2", "nucleus_count"]
        names += ["nucleus_in_ck", "circularity"]
        for marker in self.panel.markers:
            names += [f"{name}_{marker}" for name in ("mean", "max", "background", "snr", "positive_area_um2")]
        table = {name: np.zeros(total, np.int16 if name == "nucleus_count" else np.float32) for name in names}
        return {**table, "saturated": np.zeros(total, bool)}

    def _measure_single(self, frame: _Frame, noise: Tensor, table: dict[str, np.ndarray]) -> None:
        """Measure cells and objects, on patches as small as they allow."""
        waiting = np.arange(len(frame.rows))
        need_um = frame.radius_px * self.pixel_size_um + RING_UM
        for half_um in HALF_SIZES_UM:
            largest = half_um == HALF_SIZES_UM[-1]
            half_px = int(np.ceil(half_um / self.pixel_size_um))
            now = waiting if largest else waiting[need_um[waiting] <= half_um]
            later = [waiting[~np.isin(waiting, now)]]
            patch_bytes = 4 * len(self.panel.channels) * (2 * half_px + 1) ** 2
            chunk = max(1, CHUNK_BYTES.get(self.device.type, CHUNK_BYTES["cpu"]) // patch_bytes)
            chunks = -(-len(now) // chunk)
            for which in np.array_split(now, chunks) if chunks else ():
                values, cut_off = self._measure_chunk(frame, which, half_px, noise)
                done = np.ones(len(which), bool) if largest else ~cut_off
                for name, value in values.items():
                    table[name][frame.rows[which[done]]] = value[done]
                later.append(which[~done])
            waiting = np.sort(np.concatenate(later))
            if len(waiting) == 0:
                return

    def _measure_chunk(
        self, frame: _Frame, which: np.ndarray, half_px: int, noise: Tensor
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Columns of the events, and whether their cells go on outside their patches."""
        patches, place = frame.cut(which, half_px)
        step = max(1, round(2 * half_px / BACKGROUND_SAMPLES))
        gap_px = BACKGROUND_GAP_UM / self.pixel_size_um
        counts = patches.counts
        free = outside_cells(place, step, gap_px, BACKGROUND_REACH_UM / self.pixel_size_um)
        background = local_background(counts[:, :, ::step, ::step], free, frame.background)
        counts -= background[:, :, None, None]
        own = clear_outermost(own_territory(place))
        distance = squared_distance(place.x, place.y, place.height, place.width)
        seed_px = (place.radius / 2).clamp_min(SEED_UM / self.pixel_size_um)
        seeds = own & ~exceeds(distance, seed_px.square()[:, None, None])
        disc = own & ~exceeds(distance, (place.radius + gap_px).square()[:, None, None])
        level = smooth(counts)
        peak = self._peak(level, disc)
        share = counts.new_full((len(counts), 1), STAIN_SHARE)
        share[self._nucleus] = NUCLEUS_SHARE
        threshold = torch.maximum(share * peak, LEAST_SNR * noise[:, None])
        positive = exceeds(level, threshold[:, :, None, None])
        positive &= own
        without = torch.from_numpy(np.flatnonzero(frame.no_nucleus[which])).to(self.device)
        positive[self._nucleus].index_fill_(0, without, False)
        nucleus, cell = self._connected(positive, seeds)
        values = self._shape(nucleus, cell, level[self._nucleus])
        values["nucleus_in_ck"] = self._nucleus_in_ck(nucleus, level, peak, noise)
        empty = (pixel_count(cell) == 0).nonzero().squeeze(1)
        values |= self._stain(counts, cell.index_copy(0, empty, seeds[empty]), background, noise)
        values |= self._columns("positive_area_um2", pixel_count(positive & cell) * self.pixel_size_um**2)
        return values, patches.cut_off(cell).cpu().numpy()

    def _peak(self, level: Tensor, disc: Tensor) -> Tensor:
        """Peak of each stain in each event, (C, N).

        The nucleus' peak is its maximum after smoothing. The other stains come in rings, crescents and specks, where
        one bright speck must not hide the rest: theirs is the mean of the pixels above the mean.
        """
        inside = weight(disc)
        mean = weighted_sum(level, inside) / pixel_count(disc).clamp_min(1)
        above = (level - mean[:, :, None, None]).relu_().mul_(inside)
        peak = mean + above.sum((2, 3)) / above.sign_().sum((2, 3)).clamp_min(1)
        peak[self._nucleus] = (level[self._nucleus] + barred(inside)).amax((1, 2))
        return peak

    def _connected(self, positive: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (N, h, w) bool of the nucleus and of the cell, each connected to the centre."""
        masks = positive.view(torch.uint8)
        nucleus, bodies = masks[self._nucleus], masks[self._nucleus].clone()
        for channel in self._bodies:
            bodies |= masks[channel]
        stained = opened(bodies, self._opening_px)
        for channel in (self._nucleus, *self._platelet):
            stained = stained | masks[channel]
        reached = flood(seeds.view(torch.uint8) * 3, nucleus + 2 * stained)
        return (reached & 1).view(torch.bool), (reached >> 1).view(torch.bool)

    def _shape(self, nucleus: Tensor, cell: Tensor, stain: Tensor) -> dict[str, np.ndarray]:
        pixel_um2 = self.pixel_size_um**2
        area_px, nucleus_px = pixel_count(cell), pixel_count(nucleus)
        circularity = 4 * np.pi * area_px / perimeter_px(cell).square()
        tensors = {
            "area_um2": area_px * pixel_um2,
            "diameter_um": 2 * (area_px * pixel_um2 / np.pi).sqrt(),
            "nucleus_area_um2": nucleus_px * pixel_um2,
            "nucleus_diameter_um": 2 * (nucleus_px * pixel_um2 / np.pi).sqrt(),
            "circularity": circularity.clamp_max(1),
        }
        values = {name: value.cpu().numpy() for name, value in tensors.items()}
        return {**values, "nucleus_count": count_nuclei(stain, nucleus, self.pixel_size_um)}

    def _nucleus_in_ck(self, nucleus: Tensor, level: Tensor, peak: Tensor, noise: Tensor) -> np.ndarray:
        """Share of the nucleus over which an epithelial marker lies; NaN without a nucleus or such a marker."""
        ck = torch.zeros_like(nucleus)
        for channel in self._epithelial:
            threshold = torch.maximum(CK_SHARE * peak[channel], LEAST_SNR * noise[channel])
            ck |= exceeds(level[channel], threshold[:, None, None])
        share = pixel_count(ck & nucleus) / pixel_count(nucleus)
        return (share if self._epithelial else share * torch.nan).cpu().numpy()

    def _stain(self, counts: Tensor, pixels: Tensor, background: Tensor, noise: Tensor) -> dict[str, np.ndarray]:
        """Stain of each channel above its background over `pixels` (N, h, w): the cell, or the centre without one.

        The other pixels of `counts` are overwritten.
        """
        inside = weight(pixels)
        mean = weighted_sum(counts, inside) / pixel_count(pixels).clamp_min(1)
        highest = counts.add_(barred(inside)).amax((2, 3))
        highest = highest.masked_fill(highest.isneginf(), 0)  # events so close together that one has no pixel
        saturated = highest + background >= self.panel.full_scale * SATURATED_SHARE
        values = {"saturated": saturated[self._stained].any(0).cpu().numpy()}
        columns = {"mean": mean, "max": highest, "background": background, "snr": mean / noise[:, None]}
        for name, column in columns.items():
            values |= self._columns(name, column)
        return values

    def _columns(self, name: str, values: Tensor) -> dict[str, np.ndarray]:
        """One column per marker from (C, N)."""
        array = values.cpu().numpy()
        return {f"{name}_{marker}": array[i] for i, marker in enumerate(self.panel.markers)}


class _Frame:
    """One image with its cells and objects, M of them (clusters are left out)."""

    def __init__(
        self, counts: Tensor, events: Events, rows: np.ndarray, radius_um: np.ndarray, pixel_size_um: float
    ) -> None:
        self.counts = counts
        self.background = torch.as_tensor(np.asarray(events.background, np.float32), device=counts.device)
        self.rows = rows
        self.x = np.asarray(events.x_px, np.float32)[rows]
        self.y = np.asarray(events.y_px, np.float32)[rows]
        radius_px = radius_um / pixel_size_um
        self.no_nucleus = np.asarray(events.kind)[rows] == 1
        reach_px = float(2 * radius_px.max()) + (BACKGROUND_GAP_UM + BACKGROUND_REACH_UM) / pixel_size_um
        found = find_neighbours(self.x, self.y, radius_px, reach_px)
        self.neighbours, self.radius_px = found.index, found.radius_px

    def cut(self, which: np.ndarray, half_px: int) -> tuple[Patches, Place]:
        """Patches around some of the events, and where these and their neighbours lie on them."""
        device = self.counts.device
        height, width = self.counts.shape[1:]
        column = np.clip(np.rint(self.x[which]), 0, width - 1).astype(np.int64)
        row = np.clip(np.rint(self.y[which]), 0, height - 1).astype(np.int64)
        patches = cut_patches(
            self.counts, torch.from_numpy(column).to(device), torch.from_numpy(row).to(device), half_px
        )
        left, top = patches.left.cpu().numpy(), patches.top.cpu().numpy()
        known = self.neighbours[which] < len(self.rows)
        other = np.where(known, self.neighbours[which], 0)
        beside = [self.x[other] - left[:, None], self.y[other] - top[:, None], self.radius_px[other]]
        arrays = (self.x[which] - left, self.y[which] - top, self.radius_px[which], np.stack(beside))
        x, y, radius, around = (torch.from_numpy(array.astype(np.float32)).to(device) for array in arrays)
        size = patches.counts.shape[2:]
        return patches, Place(x, y, radius, around, torch.from_numpy(known).to(device), size[0], size[1])
