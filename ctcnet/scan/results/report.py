"""The report of one cartridge: one HTML file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ctcnet.labels import CONTAINS_CTC, LabelSchema
from ctcnet.output import new_output_file
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.measure.references import MarkerReference
from ctcnet.scan.results.correction_text import correction_sentences
from ctcnet.scan.results.event_texts import EventTexts, event_texts
from ctcnet.scan.results.figures import MapPoints, Scatter, map_figure, quality_figures, scatter_figure
from ctcnet.scan.results.gallery import Picture, contrast_rule, contrasts, merge_legend, pictures
from ctcnet.scan.results.report_texts import (
    class_text,
    format_count,
    format_interval,
    format_probability,
    group_notes,
)
from ctcnet.scan.results.threshold_rows import threshold_rows

_TEMPLATE = "report.html.jinja"
_SCALE_BAR_UM = 10.0
_TRIAL_VOLUME_ML = 7.5
_PARTIAL_FLAGS = frozenset(("partial_scan", "missing_frames", "unreadable_frame"))
_CLUSTER_TEXTS = {"homotypic": "other CTCs"}


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    Attributes:
        cartridge: name of the cartridge.
        schema: classes of the model.
        panel: channels of `crops`.
        columns: columns of `events.parquet` of the events shown, (N,) each, in the order of `gallery_rows`.
        crops: (N, C, S, S) uint16 counts of these events.
        pixel_size_um: micrometres per pixel of the crops.
        background, scale: (C,) levels of the cartridge in counts, NaN where it gave none.
        counts: content of `counts.json`, from `ctcnet.scan.counting.counts.count_events`.
        quality: the frames' records in `quality.json`.
        markers: names of the channels in these records.
        notes: what a user must know of the cartridge.
        points: positions of all events.
        scatter: two markers of all events; None where the panel has no such two.
        record: name -> text of everything that decided the result (model, its hash, panel, software, settings ...).
        simulated_training: whether the model was trained on simulated cells; None where its card does not say.
        simulated_images: whether the cartridge itself is simulated.
        thresholds: of the cartridge's marker calls.
    """

    cartridge: str
    schema: LabelSchema
    panel: Panel
    columns: Mapping[str, np.ndarray]
    crops: np.ndarray
    pixel_size_um: float
    background: np.ndarray
    scale: np.ndarray
    counts: Mapping[str, Any]
    quality: Sequence[Mapping[str, Any]]
    markers: Sequence[str]
    notes: Sequence[Note]
    points: MapPoints
    scatter: Scatter | None
    record: Mapping[str, str] = field(default_factory=dict)
    simulated_training: bool | None = None
    simulated_images: bool = False
    thresholds: Sequence[MarkerReference] = ()


@dataclass(frozen=True)
class _Shown:
    """One event of the gallery with what is written below its pictures."""

    picture: Picture
    texts: EventTexts


@dataclass(frozen=True)
class _Group:
    """A part of the gallery; those `for_review` are coloured."""

    anchor: str
    title: str
    text: str
    events: list[_Shown]
    for_review: bool


def write_report(path: Path, given: ReportInput, *, overwrite: bool = False) -> None:
    """Write `report.html`: self-contained, below 20 MB, the same bytes for the same input.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    with new_output_file(path, overwrite=overwrite) as part:
        part.write_text(_page(given), encoding="utf-8")


def _page(given: ReportInput) -> str:
    drawn = contrasts(given.panel, given.background, given.scale, given.crops)
    ctc = given.schema.rollups.get(CONTAINS_CTC, ())
    shown = [
        _Shown(picture, event_texts({name: values[picture.row] for name, values in given.columns.items()},
                                    given.panel.markers, given.schema.classes, ctc))
        for picture in pictures(given.crops, given.panel, drawn)
    ]  # fmt: skip
    groups = _groups(given, shown)
    field_um = given.crops.shape[-1] * given.pixel_size_um
    return _environment().get_template(_TEMPLATE).render(
        r=given,
        c=given.counts,
        total=given.counts["contains_ctc"],
        tables=_tables(given.counts),
        correction=correction_sentences(given.counts),
        thresholds=threshold_rows(given.thresholds),
        groups=groups,
        scaled=_is_scaled(given.counts),
        partial=any(note.flag in _PARTIAL_FLAGS for note in given.notes),
        contrast_rule=contrast_rule(),
        shown=len(shown),
        contrasts=[entry.sentence for entry in drawn],
        legend=merge_legend(given.panel),
        field_um=field_um,
        bar_um=_SCALE_BAR_UM,
        bar_percent=100 * _SCALE_BAR_UM / field_um,
        scatter=None if given.scatter is None else scatter_figure(given.scatter),
        map=map_figure(given.points),
        quality=quality_figures(given.quality, given.markers),
        notes=group_notes(_notes(given)),
    )  # fmt: skip


def _is_scaled(counts: Mapping[str, Any]) -> bool:
    """Whether figures per 7.5 mL are others than the counts: another volume was prepared, or a part was counted."""
    total, volume = counts[CONTAINS_CTC], counts["blood_volume_ml"]
    if total is None or total["per_7_5_ml"] is None:
        return False
    return volume != _TRIAL_VOLUME_ML or counts["counted_share"] < 1


def _notes(given: ReportInput) -> list[Note]:
    """Notes of the cartridge, then those of the counts that say something new."""
    said = {note.message for note in given.notes}
    return [*given.notes, *(Note("counts", text) for text in given.counts["notes"] if text not in said)]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": format_count, "interval": format_interval, "probability": format_probability}
    return environment


def _tables(counts: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Mapping[str, Any]]]]]:
    """Tables of counts beside the classes: title and rows of name and estimate."""
    tables = [("Classes", [(class_text(name), entry) for name, entry in counts["classes"].items()])]
    if counts["phenotypes"]:
        tables.append(("Phenotype of the events that contain a CTC", list(counts["phenotypes"].items())))
    if counts["clusters"]:
        rows = [
            (_CLUSTER_TEXTS.get(name, class_text(name)), entry)
            for name, entry in counts["clusters"].items()
            if entry is not None and "count" in entry
        ]
        tables.append(("What the CTCs touch", rows))
    return tables


def _groups(given: ReportInput, shown: Sequence[_Shown]) -> list[_Group]:
    """Parts of the gallery, what to look at first at the top; only the first one may be empty."""
    ctc = given.schema.rollups.get(CONTAINS_CTC, ())
    label, unassigned, review = (given.columns[name] for name in ("label", "unassigned", "review"))
    parts: dict[tuple[bool, bool], list[_Shown]] = {}
    for entry in shown:
        row = entry.picture.row
        called = label[row] in ctc and not unassigned[row]
        parts.setdefault((called, bool(review[row])), []).append(entry)
    doubtful = len(parts.get((True, True), []))
    text = "None of these is for review; the most probable first."
    if not parts.get((True, False)):
        text = (
            "None." if not doubtful else f"None: each of the {doubtful} events called a CTC is for review, see below."
        )
    decide = "A person has to decide on these; the reason stands with each."
    groups = [
        _Group("called", "Called a CTC", text, parts.get((True, False), []), False),
        _Group("called-review", "Called a CTC, for review", decide, parts.get((True, True), []), True),
        _Group("review", "Not called a CTC, for review", decide, parts.get((False, True), []), True),
        _Group("others", "Others", "Most like a CTC among the rest.", parts.get((False, False), []), False),
    ]
    return [group for group in groups if group.events or group is groups[0]]
