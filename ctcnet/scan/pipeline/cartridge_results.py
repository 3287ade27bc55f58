"""Everything that is written for a cartridge when its frames are done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.labels import CONTAINS_CTC
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.counting.counts import CountSettings, columns_to_count, count_events
from ctcnet.scan.counting.estimates import UNCORRECTED, CountBasis
from ctcnet.scan.measure.chance_contacts import contact_counts
from ctcnet.scan.pipeline.cartridge_score import score_text, score_to_dict
from ctcnet.scan.pipeline.finishing import EVENTS_FILE, EventWriter, FinishInput, WrittenEvents
from ctcnet.scan.pipeline.gallery_crops import gallery_crops
from ctcnet.scan.pipeline.one_heap import give_back_free_memory
from ctcnet.scan.preprocess.quality_warnings import atypical_cartridge, cartridge_warnings
from ctcnet.scan.results.counts_file import write_json
from ctcnet.scan.results.csi_events import write_csi_events
from ctcnet.scan.results.event_table import read_columns, take_rows, write_event_csv
from ctcnet.scan.results.figures import MapPoints, Scatter
from ctcnet.scan.results.gallery import gallery_rows
from ctcnet.scan.results.geojson import write_geojson
from ctcnet.scan.results.report import ReportInput, write_report

COUNTS_FILE, QUALITY_FILE, LEVELS_FILE = "counts.json", "quality.json", "levels.json"
REPORT_FILE, GEOJSON_FILE, CSI_FILE = "report.html", "events.geojson", "csi_events.csv"
QUALITY_UNITS = {
    "background, noise, cell_level": "camera counts; cell_level is the median cell above its background",
    "focus": "1/um, larger is sharper",
    "saturated_share, bright_share, dark_share, covered_share": "shares, 0 to 1",
    "shift_px": "[x, y] in pixels from the reference channel; null where it is not sure",
    "cartridge_atypicality": "score above 1: the cells are not those of the cartridges that the model knows",
    "verdict": "aligned; undone: the shift was undone; left: displaced, but of a role that is never moved; "
    "too_little_signal; no_shift_fits: the channel does not show the place that the others show",
}
"""What the names in `quality.json` stand for that do not say it themselves."""
RESULT_FILES = (EVENTS_FILE, COUNTS_FILE, QUALITY_FILE, LEVELS_FILE, REPORT_FILE, GEOJSON_FILE, CSI_FILE)
"""What a complete folder holds; the last one only where csi_images can hold the frames' numbers."""


_COUNTED_OTHERWISE = ("partial_scan", "missing_frames", "unreadable_frame", "model_levels")
"""Flags of notes that belong beside the counts."""


def finish_cartridge(finish: FinishInput) -> dict[str, Any]:
    """Write all results of a cartridge from its finished units; the same units give the same bytes.

    Returns:
        Figures for the summary.

    Raises:
        OutputError: a file cannot be written.
    """
    written = EventWriter(finish).write()
    folder, cartridge = finish.folder, finish.cartridge
    columns = _columns(finish)
    area = _areas(finish, written)
    notes = _notes(finish, written)
    counts = _counts(finish, columns, area, written, notes)
    events = folder / EVENTS_FILE
    notes += write_geojson(events, folder / GEOJSON_FILE, finish.card.labels, cartridge.pixel_size_um, overwrite=True)
    first = min(1, *(frame.number for frame in (*cartridge.frames, *cartridge.missing)))
    notes += write_csi_events(events, folder / CSI_FILE, cartridge.name, first_frame=first, overwrite=True)
    write_json(folder / LEVELS_FILE, {**finish.levels, "used": finish.levels_source}, overwrite=True)
    write_json(folder / COUNTS_FILE, counts, overwrite=True)
    write_json(folder / QUALITY_FILE, _quality(finish, written, notes), overwrite=True)
    give_back_free_memory()
    write_report(folder / REPORT_FILE, _report(finish, columns, counts, written, notes), overwrite=True)
    return _summary(finish, columns, counts, area, notes)


def write_missing_csv(folder: Path) -> None:
    """Write the events of a complete folder as CSV too, where an earlier run was not asked to.

    Raises:
        OutputError: the file cannot be written.
    """
    path = folder / EVENTS_FILE
    if not path.with_suffix(".csv").is_file():
        write_event_csv(path, path.with_suffix(".csv"), overwrite=True)


def _columns(finish: FinishInput) -> dict[str, np.ndarray]:
    """Columns of all events that counts, map and scatter plot are made from."""
    names = {*columns_to_count(finish.cartridge.panel), "event_id", "x_um", "y_um", "kind", "diameter_um"}
    names |= {f"mean_{channel.marker}" for channel in finish.cartridge.panel.channels}
    return read_columns(finish.folder / EVENTS_FILE, sorted(names))


def _areas(finish: FinishInput, written: WrittenEvents) -> dict[str, float]:
    cartridge = finish.cartridge
    frame_mm2 = cartridge.step_x_um * cartridge.step_y_um / 1e6
    unreadable = sum("unreadable" in record for record in written.records)
    return {
        "counted_mm2": round(sum(record["counted_area_um2"] for record in written.records) / 1e6, 6),
        "missing_mm2": round((len(cartridge.missing) + unreadable) * frame_mm2, 6),
        "missing_frames": len(cartridge.missing) + unreadable,
    }


def _notes(finish: FinishInput, written: WrittenEvents) -> list[Note]:
    cartridge = finish.cartridge
    notes = [*cartridge.notes, *(Note(**note) for note in finish.levels["notes"]), *finish.notes]
    notes += [
        Note("unreadable_frame", record["unreadable"], record["frame"])
        for record in written.records
        if "unreadable" in record
    ]
    if cartridge.missing:
        numbers = ", ".join(str(frame.number) for frame in cartridge.missing[:20])
        more = "" if len(cartridge.missing) <= 20 else f" and {len(cartridge.missing) - 20} more"
        message = f"frames are missing and not counted: {numbers}{more}; their area is left out"
        notes.append(Note("missing_frames", message))
    readable = [record for record in written.records if "unreadable" not in record]
    notes += atypical_cartridge(written.score, cartridge.panel) + cartridge_warnings(readable, cartridge.panel)
    return notes + list(written.reference.notes)


def _counts(
    finish: FinishInput,
    columns: dict[str, np.ndarray],
    area: dict[str, float],
    written: WrittenEvents,
    notes: list[Note],
) -> dict[str, Any]:
    basis = CountBasis(
        blood_volume_ml=finish.settings.blood_volume_ml,
        cut_offs=finish.analyser.platform.cut_offs,
        partial=any(note.flag == "partial_scan" for note in notes),
    )
    settings = CountSettings(
        basis=basis,
        counted_area_mm2=area["counted_mm2"],
        missing_area_mm2=area["missing_mm2"],
        contacts=contact_counts(
            columns,
            finish.card.labels,
            finish.cartridge.panel,
            finish.analyser.platform.detection.member_distance_um,
            written.reference,
        ),
        notes=[note.message for note in notes if note.flag in _COUNTED_OTHERWISE],
        folded=finish.card.folded or {},
        rates=finish.card.rates,
        rates_unfit=_rates_unfit(finish),
    )
    counts = count_events(columns, finish.card.labels, finish.cartridge.panel, settings)
    return {"cartridge": finish.cartridge.name, **counts, "marker_thresholds": written.reference.to_dict()}


def _rates_unfit(finish: FinishInput) -> str:
    """Why the rates on the model's card are not those of this cartridge, '' where they are or there are none."""
    rates = finish.card.rates
    if rates is None or rates.levels == finish.levels_source:
        return ""
    return (
        f"the rates on the model's card were measured with levels '{rates.levels}', and this cartridge was classified "
        f"with levels '{finish.levels_source}'"
    )


def _quality(finish: FinishInput, written: WrittenEvents, notes: list[Note]) -> dict[str, Any]:
    cartridge = finish.cartridge
    return {
        "notice": "for research use only",
        "cartridge": cartridge.name,
        "layout": cartridge.layout,
        "plan": finish.plan,
        "card": finish.card.to_dict(),
        "metadata": cartridge.metadata,
        "units": QUALITY_UNITS,
        "cartridge_atypicality": score_to_dict(written.score, finish.reference),
        "warnings": [{"flag": note.flag, "message": note.message, "frame": note.frame} for note in notes],
        "frames": written.records,
        "missing_frames": [frame.number for frame in cartridge.missing],
        "prior": [vars(event) for event in cartridge.prior],
    }


def _report(
    finish: FinishInput,
    columns: dict[str, np.ndarray],
    counts: dict[str, Any],
    written: WrittenEvents,
    notes: list[Note],
) -> ReportInput:
    panel, labels = finish.cartridge.panel, finish.card.labels
    rows = gallery_rows(columns, labels.rollups.get(CONTAINS_CTC, ()))
    shown = take_rows(finish.folder / EVENTS_FILE, rows)
    shown_columns = {name: shown[name].to_numpy(zero_copy_only=False) for name in shown.column_names}
    is_ctc = columns["counted"] & ~columns["unassigned"].astype(bool)
    is_ctc &= np.isin(columns["label"], labels.rollups.get(CONTAINS_CTC, ()))
    levels = finish.levels["levels"]

    def level(name: str) -> np.ndarray:
        values = [levels.get(marker, {}).get(name) for marker in panel.markers]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float32)

    return ReportInput(
        cartridge=finish.cartridge.name,
        schema=labels,
        panel=panel,
        columns=shown_columns,
        crops=gallery_crops(finish, shown_columns, written),
        pixel_size_um=finish.card.pixel_size_um,
        background=level("background"),
        scale=level("scale"),
        counts=counts,
        quality=sorted((r for r in written.records if "unreadable" not in r), key=lambda record: record["frame"]),
        markers=panel.markers,
        notes=notes,
        points=MapPoints(columns["x_um"], columns["y_um"], is_ctc),
        scatter=scatter_of(panel, columns, is_ctc),
        record=_record(finish, written),
        simulated_training=finish.card.training_data.simulated,
        simulated_images=bool(finish.cartridge.metadata.get("simulated", False)),
        thresholds=tuple(written.reference.markers.values()),
    )


def scatter_of(panel: Panel, columns: dict[str, np.ndarray], is_ctc: np.ndarray) -> Scatter | None:
    """Epithelial (else mesenchymal) against leukocyte marker: cells, objects, and clusters counted as a CTC event."""
    tumour = next((role for role in ("epithelial", "mesenchymal") if role in panel.roles), None)
    if tumour is None or "leukocyte" not in panel.roles:
        return None
    x, y = panel.markers[panel.roles.index(tumour)], panel.markers[panel.roles.index("leukocyte")]
    shown = (columns["kind"] != "cluster") | is_ctc
    return Scatter(x, y, columns[f"mean_{x}"][shown], columns[f"mean_{y}"][shown], is_ctc[shown])


def _record(finish: FinishInput, written: WrittenEvents) -> dict[str, str]:
    plan = finish.plan
    return {
        "Model": f"{plan['model_name']} (sha256 {plan['model_sha256']})",
        "Software": f"ctcnet {plan['software_version']}",
        "Layout and platform": f"{finish.cartridge.layout}, {finish.cartridge.platform}",
        "Panel": ", ".join(f"{c.marker} ({c.role})" for c in finish.cartridge.panel.channels),
        "Pixel size": f"{finish.cartridge.pixel_size_um:g} µm",
        "Levels": levels_text(finish.levels, finish.levels_source),
        "Atypicality of the cartridge": score_text(score_to_dict(written.score, finish.reference)),
        "Blood volume": "not stated" if plan["blood_volume_ml"] is None else f"{plan['blood_volume_ml']:g} mL",
        "Settings": json.dumps(plan["platform"], sort_keys=True),
    }


def levels_text(levels: Mapping[str, Any], source: str) -> str:
    """Where the levels that the model was given come from, in words for the report.

    Args:
        levels: of the cartridge, as the journal has them.
        source: 'cartridge', 'model' or 'per_crop'.
    """
    if source != "cartridge":
        return {"model": "the model's own", "per_crop": "each crop's own"}[source]
    if levels["source"] == "given":
        return "given with --levels"
    frames = ", ".join(map(str, levels["frames"]))
    return f"cartridge, from {levels['leukocytes']} leukocytes of frames {frames}"


def _summary(
    finish: FinishInput,
    columns: dict[str, np.ndarray],
    counts: dict[str, Any],
    area: dict[str, float],
    notes: list[Note],
) -> dict[str, Any]:
    counted = columns["counted"].astype(bool)
    leukocytes = counts["classes"].get("leukocyte")
    return {
        **ctc_figures(counts[CONTAINS_CTC]),
        "for_review": counts["for_review"],
        "unassigned": counts["unassigned"],
        "cells": int((counted & (columns["kind"] != "object")).sum()),
        "leukocytes": "" if leukocytes is None else leukocytes["count"],
        "frames": len(finish.cartridge.frames) + len(finish.cartridge.missing) - area["missing_frames"],
        "frames_missing": area["missing_frames"],
        "counted_area_mm2": area["counted_mm2"],
        "warnings": " ".join(sorted({note.flag for note in notes})),
    }


def ctc_figures(ctc: Mapping[str, Any] | None) -> dict[str, Any]:
    """Columns of the summary on events that contain a CTC; only those that are known.

    Args:
        ctc: count with what belongs beside it, see `ctcnet.scan.counting.estimates.estimate`; None where the model has
            no class with a CTC.
    """
    if ctc is None:
        return {}
    low, high = (round(bound, 2) for bound in ctc["interval"])
    figures = {"ctc_events": ctc["count"], "ctc_interval_low": low, "ctc_interval_high": high}
    volume, corrected = ctc["per_7_5_ml"], ctc["corrected"]
    if volume is not None:
        figures |= _with_interval("ctc_per_7_5_ml", volume["value"], volume["interval"])
    if corrected != UNCORRECTED:
        figures |= _with_interval("ctc_corrected", corrected["value"], corrected["interval"])
        if volume is not None:
            per_volume = corrected["per_7_5_ml_value"], corrected["per_7_5_ml_interval"]
            figures |= _with_interval("ctc_corrected_per_7_5_ml", *per_volume)
    return figures


def _with_interval(name: str, value: float, interval: Sequence[float]) -> dict[str, float]:
    """A figure and the bounds of its interval as columns of the summary."""
    return {name: round(value, 2), f"{name}_low": round(interval[0], 2), f"{name}_high": round(interval[1], 2)}
