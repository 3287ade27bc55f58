"""All frames of a cartridge in fixed units of work, with reading, detection and the network overlapped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ctcnet.errors import FrameError
from ctcnet.scan.pipeline.canvas import Canvas, PreparedFrame, StripCache, Strips, build_canvas, strips_of
from ctcnet.scan.pipeline.cartridge_score import EMBEDDING_COLUMN, sample_column
from ctcnet.scan.pipeline.classification import CropClassifier
from ctcnet.scan.pipeline.crop_answers import CropAnswers, join
from ctcnet.scan.pipeline.frame_analysis import FrameAnalyser, FrameEvents
from ctcnet.scan.pipeline.kept_crops import CROP_COLUMN, crop_column
from ctcnet.scan.pipeline.territory import Place, Territories
from ctcnet.scan.pipeline.work_folder import WorkFolder

PLACES_PER_UNIT = 4
"""Fixed beforehand: results must not depend on where an earlier run was cut off."""


def units_of(territories: Territories) -> list[range]:
    """Positions in `Territories.places` of each unit of work."""
    count = len(territories.places)
    return [range(start, min(start + PLACES_PER_UNIT, count)) for start in range(0, count, PLACES_PER_UNIT)]


@dataclass
class _Unit:
    number: int
    places: range
    analysed: list[Future[FrameEvents] | dict[str, Any]] = field(default_factory=list)


class FrameStream:
    """Scans the units that are not finished yet.

    Args:
        analyser: works on frames.
        classifier: answers for crops.
        work: where finished units are kept.
        workers: threads; each works on frames of its own, with one thread within torch and onnxruntime.
        on_frame: called after each frame.
    """

    def __init__(
        self,
        analyser: FrameAnalyser,
        classifier: CropClassifier,
        work: WorkFolder,
        workers: int,
        on_frame: Callable[[], None],
    ) -> None:
        self._analyser, self._classifier, self._work = analyser, classifier, work
        self._workers, self._on_frame = workers, on_frame
        self._cartridge = analyser.cartridge
        self._places = analyser.territories.places

    def run(self) -> None:
        """Scan; every finished unit is in the work folder.

        Raises:
            OutputError: a unit could not be written.
        """
        units = []
        for number, places in enumerate(units_of(self._analyser.territories)):
            if not self._work.has_unit(number):
                units.append(_Unit(number, places))
                continue
            for _ in range(sum(self._places[position].frame is not None for position in places)):
                self._on_frame()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="ctcnet-scan")
        try:
            self._run(units, pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, units: list[_Unit], pool: ThreadPoolExecutor) -> None:
        writing: deque[Future[None]] = deque()
        busy: deque[Future[FrameEvents]] = deque()
        strips = StripCache(self._make_strips, keep=self._cartridge.columns + 2)
        prepared = self._prepared_ahead(units, pool)
        for unit in units:
            for place in (self._places[position] for position in unit.places):
                ready = next(prepared)
                if isinstance(ready, FrameError):
                    unit.analysed.append(self._unreadable(place, ready))
                frame = ready if isinstance(ready, PreparedFrame) else None
                canvas = self._canvas(place, frame, strips)
                if canvas is not None:
                    task = pool.submit(self._analyse, place, frame, canvas)
                    unit.analysed.append(task)
                    busy.append(task)
                elif place.frame is not None:
                    self._on_frame()
                while len(busy) > self._workers:
                    busy.popleft().result()
            writing.append(pool.submit(self._finish_unit, unit))
            while len(writing) > 1:
                writing.popleft().result()
        for task in writing:
            task.result()

    def _prepared_ahead(
        self, units: list[_Unit], pool: ThreadPoolExecutor
    ) -> Iterator[PreparedFrame | FrameError | None]:
        """The places' frames made ready, in order, a few of them ahead of their use; None where one is missing."""
        order = [self._places[position].frame for unit in units for position in unit.places]
        ahead: deque[Future[PreparedFrame | FrameError | None]] = deque()
        for position in range(len(order) + self._workers):
            if position < len(order):
                ahead.append(pool.submit(self._prepare, order[position]))
            if ahead and position >= min(self._workers, len(order)):
                yield ahead.popleft().result()

    def _prepare(self, index: int | None) -> PreparedFrame | FrameError | None:
        try:
            return None if index is None else self._analyser.prepare(index)
        except FrameError as error:
            return error

    def _make_strips(self, index: int) -> Strips | None:
        ready = self._prepare(index)
        if not isinstance(ready, PreparedFrame):
            return None
        return strips_of(ready, self._cartridge, self._analyser.territories.margin_px)

    def _canvas(self, place: Place, frame: PreparedFrame | None, strips: StripCache) -> Canvas | None:
        territories = self._analyser.territories
        canvas = build_canvas(frame, place, self._cartridge, territories, strips)
        if place.frame is not None:
            lent = None if frame is None else strips_of(frame, self._cartridge, territories.margin_px)
            strips.put(place.frame, lent)
        return canvas

    def _analyse(self, place: Place, frame: PreparedFrame | None, canvas: Canvas) -> FrameEvents:
        with torch.inference_mode():
            events = self._analyser.analyse(place, frame, canvas, self._classifier)
        if place.frame is not None:
            self._on_frame()
        return events

    def _unreadable(self, place: Place, error: FrameError) -> dict[str, Any]:
        frame = self._cartridge.frames[place.frame or 0]
        return {
            "frame": frame.number,
            "row": frame.row,
            "column": frame.column,
            "unreadable": str(error).replace(str(self._cartridge.path), self._cartridge.name),
            "counted_area_um2": 0.0,
        }

    def _finish_unit(self, unit: _Unit) -> None:
        """Classify the crops of a unit, in batches across its frames, and keep its events."""
        analysed = [entry if isinstance(entry, dict) else entry.result() for entry in unit.analysed]
        unit.analysed.clear()
        frames = [entry for entry in analysed if isinstance(entry, FrameEvents)]
        records = [entry if isinstance(entry, dict) else entry.record for entry in analysed]
        records = [record for record in records if record is not None]
        start = perf_counter()
        answers = self._classify(frames)
        self._analyser.times.add("network", perf_counter() - start)
        start = perf_counter()
        table = _unit_table(frames, answers)
        p_contains_ctc = answers.probabilities[:, self._classifier.ctc_mask].sum(axis=1)
        units = len(units_of(self._analyser.territories))
        crops = crop_column(frames, p_contains_ctc, self._analyser.panel_order, units)
        table = table.append_column(CROP_COLUMN, crops)
        if self._classifier.keeps_embeddings:
            sample = sample_column(_sampled(frames), answers.embedding, len(table))
            table = table.append_column(EMBEDDING_COLUMN, sample)
        self._work.write_unit(unit.number, table, records)
        self._analyser.times.add("writing", perf_counter() - start)

    def _classify(self, frames: list[FrameEvents]) -> CropAnswers:
        waiting = [frame for frame in frames if frame.answers is None]
        joined = self._classifier.classify([frame.crops for frame in waiting], _sampled(waiting))
        parts, start, first = [], 0, 0
        for frame in frames:
            if frame.answers is not None:
                parts.append(frame.answers)
                continue
            stop, last = start + len(frame.crops), first + len(frame.sampled)
            of_crops = (values[start:stop] for values in joined[:-1])
            parts.append(CropAnswers(*of_crops, embedding=joined.embedding[first:last]))
            start, first = stop, last
        parts = [part for part in parts if len(part.probabilities)]  # of none, the embedding's width is not known
        return join(parts) if parts else self._classifier.nothing()


def _sampled(frames: list[FrameEvents]) -> np.ndarray:
    """Rows of the sample, counted over all of the frames."""
    offsets = np.cumsum([0] + [len(frame.columns["x_px"]) for frame in frames])
    parts = [frame.sampled + offset for frame, offset in zip(frames, offsets, strict=False)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _unit_table(frames: list[FrameEvents], answers: CropAnswers) -> pa.Table:
    """Events of a unit; `parent` counts rows within the unit."""
    columns: dict[str, np.ndarray] = {}
    if frames:
        offsets = np.cumsum([0] + [len(frame.columns["x_px"]) for frame in frames])
        for name in frames[0].columns:
            parts = [frame.columns[name] for frame in frames]
            if name == "parent":
                parts = [np.where(part >= 0, part + offset, -1) for part, offset in zip(parts, offsets, strict=False)]
            columns[name] = np.concatenate(parts)
    for k in range(answers.probabilities.shape[1]):
        columns[f"p{k}"] = answers.probabilities[:, k]
    columns["unassigned"] = answers.unassigned
    columns["atypicality"] = answers.atypicality
    return pa.table({name: pa.array(values) for name, values in columns.items()})
