"""Crops of the events that a report shows, with all channels: from the journal, or cut again from their frames."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctcnet.scan.order_statistics import lower_median
from ctcnet.scan.pipeline.canvas import PreparedFrame, StripCache, Strips, build_canvas, strips_of
from ctcnet.scan.pipeline.crop_cutting import CropCutter
from ctcnet.scan.pipeline.finishing import FinishInput, WrittenEvents
from ctcnet.scan.pipeline.kept_crops import kept_crops
from ctcnet.scan.pipeline.territory import Place, Territories
from ctcnet.scan.preprocess.registration import ChannelShifts

_FILL_STEP_PX = 8
"""Every so manieth pixel is enough for the median that stands where nothing is known."""


def gallery_crops(finish: FinishInput, columns: Mapping[str, np.ndarray], written: WrittenEvents) -> np.ndarray:
    """Crops of events at the model's scale: those that the journal has kept, the others cut again from their frames.

    Args:
        finish: the cartridge, its finished units and how its frames are made ready.
        columns: event_id, frame, x_px and y_px of the events, (N,).
        written: the events of all units.

    Returns:
        (N, C, S, S) uint16 counts of all channels of the cartridge.
    """
    size = finish.card.crop_size_px
    shape = (len(finish.cartridge.panel.channels), size, size)
    rows = np.flatnonzero(written.kept)[columns["event_id"] - 1]
    crops, found = kept_crops(finish.work, written.sizes, rows, shape)
    rest = np.flatnonzero(~found)
    if len(rest):
        wanted = {name: columns[name][rest] for name in ("frame", "x_px", "y_px")}
        crops[rest] = cut_gallery(finish, wanted, written.records)
    return crops


def cut_gallery(
    finish: FinishInput, columns: Mapping[str, np.ndarray], records: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    """Crops of events at the model's scale, joined with the neighbouring frames as they were when they were classified.

    Args:
        finish: the cartridge and how its frames are made ready.
        columns: frame, x_px and y_px of the events, (N,).
        records: what was recorded of the frames; their channels' shifts are not measured again.

    Returns:
        (N, C, S, S) uint16 counts of all channels of the cartridge.
    """
    frames = _GalleryFrames(finish, records)
    card, cartridge = finish.card, finish.cartridge
    size = card.crop_size_px
    crops = np.zeros((len(columns["frame"]), len(cartridge.panel.channels), size, size), dtype=np.uint16)
    cutter = CropCutter(cartridge.pixel_size_um, card.pixel_size_um, size, finish.settings.device)
    reach = cutter.patch_px / 2 + 1
    answering = frames.answering(columns)
    joined = {place for place, _, x_px, y_px in answering if (np.minimum(x_px, y_px) < reach).any()}
    lenders = frames.lenders(joined)
    lent = StripCache(frames.strips, keep=cartridge.columns + 2)
    with torch.inference_mode():
        ready = frames.prepared_ahead([place for place, *_ in answering])
        for (place, rows, x_px, y_px), prepared in zip(answering, ready, strict=True):
            counts, offset_x, offset_y = frames.counts(place, prepared, place in joined, lent)
            fill = lower_median(counts[:, ::_FILL_STEP_PX, ::_FILL_STEP_PX].flatten(1)).cpu().numpy()
            cut = cutter.cut(counts, x_px + offset_x, y_px + offset_y, fill)
            crops[rows] = cut.cpu().numpy()
            if place in joined:
                lenders.subtract(frames.lenders([place]))
                lent.forget(index for index, borrowers in lenders.items() if borrowers < 1)
            if prepared is not None and place.frame is not None and lenders[place.frame] > 0:
                lent.put(place.frame, strips_of(prepared, cartridge, frames.margin_px))
    return crops


class _GalleryFrames:
    """Frames of a cartridge made ready once more, with what their neighbours lend where it is needed."""

    def __init__(self, finish: FinishInput, records: Sequence[Mapping[str, Any]]) -> None:
        self._finish, self._cartridge = finish, finish.cartridge
        self._territories: Territories = finish.analyser.territories
        self._records = {record["frame"]: record for record in records}
        self.margin_px = self._territories.margin_px

    def answering(self, columns: Mapping[str, np.ndarray]) -> list[tuple[Place, np.ndarray, np.ndarray, np.ndarray]]:
        """Places that answer for events, by row and column: place, rows of the events, x_px and y_px in its pixels."""
        places = {(place.row, place.column): place for place in self._territories.places}
        own = {self._cartridge.frames[p.frame].number: p for p in places.values() if p.frame is not None}
        step_x = self._cartridge.frame_width_px - self._cartridge.overlap_x_px
        step_y = self._cartridge.frame_height_px - self._cartridge.overlap_y_px
        rows_of: dict[tuple[int, int], list[int]] = {}
        x_px, y_px = columns["x_px"].astype(np.float64), columns["y_px"].astype(np.float64)
        for row, number in enumerate(columns["frame"].tolist()):
            place = own[number]
            territory = self._territories.territory(place)
            right, lower = int(x_px[row] >= territory.x_to), int(y_px[row] >= territory.y_to)
            at = place.row + lower, place.column + right
            if at not in places:
                at, right, lower = (place.row, place.column), 0, 0
            x_px[row] -= right * step_x
            y_px[row] -= lower * step_y
            rows_of.setdefault(at, []).append(row)
        grouped = ((places[at], np.array(rows)) for at, rows in sorted(rows_of.items()))
        return [(place, rows, x_px[rows], y_px[rows]) for place, rows in grouped]

    def prepared_ahead(self, places: Sequence[Place]) -> Iterator[PreparedFrame | None]:
        """The frames of places made ready, a few of them ahead of their use; None where there is none to be read."""
        ahead: deque[Future[PreparedFrame | None]] = deque()
        with ThreadPoolExecutor(self._finish.settings.workers, thread_name_prefix="ctcnet-gallery") as pool:
            for place in places:
                ahead.append(pool.submit(self._readable, place.frame))
                if len(ahead) > self._finish.settings.workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def lenders(self, joined: Iterable[Place]) -> Counter[int]:
        """Frames of whose strips the canvases of places are made, and for how many of these places."""
        near = [self._territories.neighbours(place) for place in joined]
        lending = (index for beside in near for index in (beside.left, beside.upper, beside.upper_left))
        return Counter(index for index in lending if index is not None)

    def counts(
        self, place: Place, prepared: PreparedFrame | None, joined: bool, lent: StripCache
    ) -> tuple[Tensor, int, int]:
        """Counts (C, H, W) about a place, and where its own first pixel (x, y) is in them.

        Args:
            place: the place.
            prepared: its frame.
            joined: whether what the left and upper neighbours lend is needed.
            lent: their strips.
        """
        if prepared is not None and not joined:
            return prepared.counts, 0, 0
        canvas = build_canvas(prepared, place, self._cartridge, self._territories, lent)
        assert canvas is not None, "an event stands where no frame is known"
        return canvas.counts, canvas.offset_x_px, canvas.offset_y_px

    def strips(self, index: int) -> Strips | None:
        """What a frame lends; None where it cannot be read."""
        prepared = self._readable(index)
        return None if prepared is None else strips_of(prepared, self._cartridge, self.margin_px)

    def _prepare(self, index: int) -> PreparedFrame:
        record = self._records.get(self._cartridge.frames[index].number)
        known = None if record is None else _recorded_shifts(record, self._cartridge.panel.markers)
        return self._finish.analyser.prepare(index, known)

    def _readable(self, index: int | None) -> PreparedFrame | None:
        """A frame made ready; None where there is none, or where its record says already that it cannot be read.

        Raises:
            FrameError: it could be read before, so that events were found in it, and cannot be read any more.
        """
        if index is None or "unreadable" in self._records.get(self._cartridge.frames[index].number, {}):
            return None
        with torch.inference_mode():
            return self._prepare(index)


def _recorded_shifts(record: Mapping[str, Any], markers: Sequence[str]) -> ChannelShifts | None:
    """Shifts of a frame as its record has them; None where it has none."""
    channels = [record.get("channels", {}).get(marker) for marker in markers]
    if None in channels:
        return None
    missing = (np.nan, np.nan)
    measured = np.array([entry["shift_px"] or missing for entry in channels], dtype=np.float32)
    verdict = tuple(entry["verdict"] for entry in channels)
    undone = np.array([word == "undone" for word in verdict])
    before, after = (
        np.array([np.nan if entry[key] is None else entry[key] for entry in channels], dtype=np.float32)
        for key in ("correlation_before", "correlation_after")
    )
    return ChannelShifts(
        shift_px=np.where(undone[:, None], measured, 0).astype(np.float32),
        measured_px=measured,
        correlation_before=before,
        correlation_after=after,
        sure=np.asarray(np.isfinite(measured).all(axis=1)),
        reference=list(markers).index(record["reference"]),
        verdict=verdict,
    )
