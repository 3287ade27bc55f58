"""One frame from counts to events: made ready, joined with its neighbours' strips, detected, measured, crops cut."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.detect.detected_events import DetectedEvents
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.measure.event_measurer import EventMeasurer
from ctcnet.scan.pipeline.canvas import Canvas, PreparedFrame, counted_area_um2, room_px
from ctcnet.scan.pipeline.canvas_memory import CanvasMemory
from ctcnet.scan.pipeline.cartridge_score import sampled_rows
from ctcnet.scan.pipeline.classification import CropClassifier
from ctcnet.scan.pipeline.crop_answers import CropAnswers, join, rows_within
from ctcnet.scan.pipeline.crop_cutting import CropCutter
from ctcnet.scan.pipeline.stage_times import StageTimes
from ctcnet.scan.pipeline.territory import Place, Territories
from ctcnet.scan.platform import Platform
from ctcnet.scan.preprocess.quality import frame_quality
from ctcnet.scan.preprocess.registration import ChannelShifts, measure_shifts, undo_shifts
from ctcnet.scan.preprocess.spillover import unmixing_matrix
from ctcnet.scan.preprocess.unmixing import undo_spillover
from ctcnet.scan.typical_counts import typical_counts

MOST_CROPS_WAITING = 4096
"""Crops of one frame that wait for those of its unit; more are classified at once, so that memory stays bounded."""

SEAM_UM = 3.0
"""Pixels without a source this near to those with one count as seen: small shifts, when they are undone, leave a thin
band along a frame's border, and a cell whose centre lies there must not be lost between two frames."""

_RIM_POINTS = 8


@dataclass(frozen=True)
class FrameEvents:
    """Events of one frame's territory and a little beyond.

    Attributes:
        columns: name -> (N,) array; see `FrameAnalyser.analyse`.
        crops: (N, C, S, S) whole counts, see `CropCutter.cut`, channels in the model's order, at the model's scale; N
            is 0 where `answers` are there already.
        sampled: (M,) ascending rows of the events whose embeddings are kept, see `sampled_rows`; none where the model
            cannot judge a cartridge.
        answers: answers for a frame that is so crowded that its crops are not kept; else None.
        record: what `quality.json` says of the frame; None where there is none.
    """

    columns: dict[str, np.ndarray]
    crops: Tensor
    sampled: np.ndarray
    answers: CropAnswers | None
    record: dict[str, Any] | None


class FrameAnalyser:
    """Works on the frames of one cartridge.

    Args:
        cartridge: the cartridge.
        platform: its scanner's settings.
        territories: which frame answers for which place.
        channels: index in the cartridge's panel of each channel of the model.
        pixel_size_um, crop_size_px: scale and side of the model's input.
        device: where frames are worked on.
        times: where seconds per stage are added up.

    Attributes:
        canvases: memory of the frames that are worked on.
        panel_order: for each channel of the cartridge its place among the model's; None where the model does not see
            all of them.
    """

    def __init__(
        self,
        cartridge: Cartridge,
        platform: Platform,
        territories: Territories,
        channels: list[int],
        pixel_size_um: float,
        crop_size_px: int,
        device: str,
        times: StageTimes,
    ) -> None:
        roles, own_um = cartridge.panel.roles, cartridge.pixel_size_um
        self.cartridge, self.platform, self.territories = cartridge, platform, territories
        self.times = times
        self.detector = EventDetector(platform.detection, roles, own_um, device)
        self.measurer = EventMeasurer(cartridge.panel, own_um, device)
        self._cutter = CropCutter(own_um, pixel_size_um, crop_size_px, device)
        self._channels, self._device = channels, torch.device(device)
        every = sorted(channels) == list(range(len(roles)))
        self.panel_order = [channels.index(channel) for channel in range(len(roles))] if every else None
        margin = territories.margin_px
        largest = (len(roles), cartridge.frame_height_px + margin, cartridge.frame_width_px + margin)
        self.canvases = CanvasMemory(largest, self._device)
        self._remembered: dict[int, ChannelShifts] = {}
        unmixing = unmixing_matrix(platform, cartridge.panel)
        identity = np.allclose(unmixing, np.eye(len(roles)))
        self._unmixing = None if identity else torch.as_tensor(unmixing, dtype=torch.float32, device=self._device)

    def prepare(self, index: int, shifts: ChannelShifts | None = None) -> PreparedFrame:
        """Read a frame, cover the cartridge's rim, undo spectral spillover and the channels' shifts.

        Args:
            index: position in `Cartridge.frames`.
            shifts: the channels' shifts where they are known already; None measures them, unless `remember` was told.

        Raises:
            FrameError: the frame cannot be used.
        """
        start = perf_counter()
        pixels = self.cartridge.read(index)
        self.times.add("reading", perf_counter() - start)
        start = perf_counter()
        frame = self.cartridge.frames[index]
        above, left = room_px(frame.row, frame.column, self.territories)
        channels, height, width = pixels.shape
        canvas = self.canvases.empty((channels, above + height, left + width))
        counts = canvas[:, above:, left:]
        counts.copy_(torch.from_numpy(pixels))
        off_rim = self._cover_rim(index, counts)
        if self._unmixing is not None:
            counts.copy_(undo_spillover(counts, self._unmixing, self.cartridge.panel.full_scale))
        shifts = shifts or self._remembered.pop(index, None)
        if shifts is None:
            shifts = measure_shifts(
                counts, self.cartridge.panel.roles, self.cartridge.pixel_size_um, self.platform.registration
            )
        valid = undo_shifts(counts, shifts)
        valid = _widened(valid, round(SEAM_UM / self.cartridge.pixel_size_um))
        self.times.add("registration", perf_counter() - start)
        valid = valid & off_rim if self.cartridge.rim_px else valid
        return PreparedFrame(counts, valid, shifts, canvas)

    def remember(self, index: int, shifts: ChannelShifts) -> None:
        """Take these shifts when the frame `index` is made ready the next time: they were measured on it already."""
        self._remembered[index] = shifts

    def _cover_rim(self, index: int, counts: Tensor) -> Tensor:
        """Lay the frame's median over the bright rim of the cartridge; (H, W) bool, where there is none."""
        cartridge, frame, rim = self.cartridge, self.cartridge.frames[index], self.cartridge.rim_px
        keep = torch.ones(counts.shape[1:], dtype=torch.bool, device=counts.device)
        if not rim:
            return keep
        last_row, last_column = cartridge.rows - 1, cartridge.columns - 1
        height, width = keep.shape
        top, left = rim if frame.row == 0 else 0, rim if frame.column == 0 else 0
        bottom = height - (rim if frame.row == last_row else 0)
        right = width - (rim if frame.column == last_column else 0)
        sides = np.s_[:top, :], np.s_[bottom:, :], np.s_[:, :left], np.s_[:, right:]
        for rows, columns in sides:
            keep[rows, columns] = False
        inside = counts[:, top:bottom, left:right]
        if inside.numel() and inside.shape != counts.shape:
            typical = typical_counts(inside)
            for rows, columns in sides:
                counts[:, rows, columns] = typical
        return keep

    def analyse(
        self, place: Place, prepared: PreparedFrame | None, canvas: Canvas, classifier: CropClassifier
    ) -> FrameEvents:
        """Detect, measure and cut the events that a place answers for.

        Args:
            place: the place.
            prepared: its frame; None where it is missing or cannot be read.
            canvas: what is known of it.
            classifier: used at once where the events are very many.

        Returns:
            Columns x_px, y_px (in the pixels of the frame `owner`, float32), owner (position in `Cartridge.frames` of
            the frame whose pixels hold the centre), canvas (number of this place), depth_px (inside the territory),
            kind (uint8), members, parent (row in this frame's list, or -1), snr, at_edge, at_border, unregistered and
            the columns of `EventMeasurer.measure`.
        """
        start = perf_counter()
        events = self.detector.detect(canvas.counts[None], canvas.valid[None])[0]
        detected = perf_counter()
        self.times.add("detection", detected - start)
        measured = self.measurer.measure(canvas.counts, events, events.noise)
        self.times.add("measurement", perf_counter() - detected)
        x_px, y_px = events.x_px - canvas.offset_x_px, events.y_px - canvas.offset_y_px
        depth = self.territories.territory(place).depth(x_px, y_px)
        kept = self._kept(events, depth)
        owner, owner_x, owner_y = self.territories.owner(place, x_px[kept], y_px[kept])
        at_edge = _reaches_unseen(canvas, events, measured["diameter_um"] / self.cartridge.pixel_size_um / 2)
        columns = {
            "x_px": owner_x.astype(np.float32),
            "y_px": owner_y.astype(np.float32),
            "owner": owner.astype(np.int32),
            "canvas": np.full(len(kept), self.territories.places.index(place), dtype=np.int32),
            "depth_px": depth[kept].astype(np.float32),
            "kind": events.kind[kept],
            "members": events.members[kept],
            "parent": _renumber(events.parent, kept),
            "snr": events.snr[kept],
            "at_edge": at_edge[kept],
            "at_border": self._across_border(x_px, y_px, measured["diameter_um"])[kept],
            "unregistered": np.full(len(kept), prepared is not None and prepared.shifts.unregistered),
            **{name: values[kept] for name, values in measured.items()},
        }
        sampled = np.zeros(0, dtype=np.int64)
        if classifier.keeps_embeddings:
            sampled = sampled_rows(columns, len(self.territories.places))
        crops, answers = self._crops(canvas, events, kept, classifier, sampled)
        record = None if prepared is None else self._record(place, prepared, events, x_px, y_px)
        return FrameEvents(columns, crops, sampled, answers, record)

    def _crops(
        self,
        canvas: Canvas,
        events: DetectedEvents,
        kept: np.ndarray,
        classifier: CropClassifier,
        sampled: np.ndarray,
    ) -> tuple[Tensor, CropAnswers | None]:
        """Crops of the events kept; of a crowded frame their answers, a part of them at a time."""
        wanted = self._of_model(canvas.counts)
        fill = events.background[self._channels]

        def cut(rows: np.ndarray) -> Tensor:
            start = perf_counter()
            crops = self._cutter.cut(wanted, events.x_px[rows], events.y_px[rows], fill)
            self.times.add("cutting", perf_counter() - start)
            return crops

        if len(kept) <= MOST_CROPS_WAITING:
            return cut(kept), None

        def classify(first: int) -> CropAnswers:
            stop = first + MOST_CROPS_WAITING
            crops = cut(kept[first:stop])
            start = perf_counter()
            found = classifier.classify([crops], rows_within(sampled, first, stop))
            self.times.add("network", perf_counter() - start)
            return found

        return cut(kept[:0]), join([classify(first) for first in range(0, len(kept), MOST_CROPS_WAITING)])

    def _counted_area_um2(self, place: Place, prepared: PreparedFrame) -> float:
        there = {(other.row, other.column) for other in self.territories.places if other.frame is not None}
        right, lower = (place.row, place.column + 1) in there, (place.row + 1, place.column) in there
        return counted_area_um2(prepared, self.cartridge, right, lower)

    def _of_model(self, counts: Tensor) -> Tensor:
        """The model's channels; without a copy where they lie one after the other."""
        first, last = self._channels[0], self._channels[-1]
        if self._channels == list(range(first, last + 1)):
            return counts[first : last + 1]
        return counts[self._channels]

    def _kept(self, events: DetectedEvents, depth: np.ndarray) -> np.ndarray:
        """Rows in the territory or within the guard beyond it; members of a cluster go where their cluster goes."""
        inside = depth >= -self.territories.guard_px
        grouped = events.parent >= 0
        inside[grouped] = inside[events.parent[grouped]]
        return np.flatnonzero(inside)

    def _across_border(self, x_px: np.ndarray, y_px: np.ndarray, diameter_um: np.ndarray) -> np.ndarray:
        """Whether an event reaches across the border between two frames."""
        reach = diameter_um / 2 / self.cartridge.pixel_size_um
        right = self.cartridge.frame_width_px - 0.5
        lower = self.cartridge.frame_height_px - 0.5
        across = np.zeros(len(x_px), dtype=bool)
        for place, border in ((x_px, -0.5), (x_px, right), (y_px, -0.5), (y_px, lower)):
            across |= np.abs(place - border) < reach
        return across

    def _record(
        self,
        place: Place,
        prepared: PreparedFrame,
        events: DetectedEvents,
        x_px: np.ndarray,
        y_px: np.ndarray,
    ) -> dict[str, Any]:
        start = perf_counter()
        cartridge = self.cartridge
        own = (x_px >= 0) & (y_px >= 0)
        number = cartridge.frames[place.frame or 0].number
        quality = frame_quality(
            number,
            prepared.counts,
            x_px[own],
            y_px[own],
            events.kind[own],
            events.background,
            events.noise,
            prepared.shifts,
            cartridge.panel,
            cartridge.pixel_size_um,
        )
        self.times.add("quality", perf_counter() - start)
        return {
            "frame": number,
            "row": place.row,
            "column": place.column,
            "counted_area_um2": round(self._counted_area_um2(place, prepared), 1),
            "specks_per_mm2": {
                marker: round(float(value), 1)
                for marker, value in zip(cartridge.panel.markers, events.specks_per_mm2, strict=True)
            },
            "too_crowded": events.too_crowded,
            **quality,
        }


def _widened(valid: Tensor, reach_px: int) -> Tensor:
    """A rectangle of true pixels (H, W), widened by `reach_px` on every side."""
    pixels = valid.view(torch.uint8)  # torch's any() takes ten times as long on a CPU
    rows, columns = (
        torch.nn.functional.max_pool1d(pixels.amax(dim=dim).float()[None], 2 * reach_px + 1, 1, reach_px)[0] > 0
        for dim in (1, 0)
    )
    return rows[:, None] & columns


def _renumber(parent: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Parents as rows among those kept; -1 where there is none."""
    place = np.full(len(parent) + 1, -1, dtype=np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    return place[parent[kept]]


def _reaches_unseen(canvas: Canvas, events: DetectedEvents, reach_px: np.ndarray) -> np.ndarray:
    """Whether an event reaches beyond the canvas or into pixels without a source, (N,) bool."""
    valid = canvas.valid.cpu().numpy()
    height, width = valid.shape
    unseen = np.zeros(len(events.x_px), dtype=bool)
    for angle in np.arange(_RIM_POINTS) * (2 * np.pi / _RIM_POINTS):
        column = np.rint(events.x_px + reach_px * np.cos(angle)).astype(np.int64)
        row = np.rint(events.y_px + reach_px * np.sin(angle)).astype(np.int64)
        outside = (column < 0) | (row < 0) | (column >= width) | (row >= height)
        unseen |= outside | ~valid[row.clip(0, height - 1), column.clip(0, width - 1)]
    return unseen
