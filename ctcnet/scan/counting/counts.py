"""Counts of one cartridge, from its table of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ctcnet.call_rates import CallRates
from ctcnet.labels import CONTAINS_CTC, LabelSchema
from ctcnet.panel import Panel
from ctcnet.scan.counting.corrected import Correction, correction_of, probability_of_so_few
from ctcnet.scan.counting.estimates import UNCORRECTED, CountBasis, estimate
from ctcnet.scan.counting.poisson import LEVEL, proportion_interval

CTC_IN_REACH = 0.05
"""An unassigned event with at least this P(contains a CTC) may be one."""

LEAST_PROBABILITY_OF_SO_FEW = 1e-3
"""Where false calls alone would hardly ever be as few as all calls, the rates do not hold for the cartridge."""

CORRECTION_METHOD = (
    "k ~ Poisson(s mu + b): s is the sensitivity; b adds up, over the classes without a CTC, the rate of false calls "
    "per event of the class times the events counted whose likeliest class it is. s and the rates are uncertain (Beta "
    "and Gamma, Jeffreys' priors) and integrated out. They were measured on crops: what the detector misses is not in s"
)

PARTNERS: tuple[str, ...] = ("neutrophil", "other_leukocyte", "platelet")
PHENOTYPES: tuple[str, ...] = ("epithelial", "hybrid", "mesenchymal", "negative")


@dataclass(frozen=True)
class CountSettings:
    """What is known of a cartridge beside its events.

    Attributes:
        basis: see `CountBasis`; its `counted_share` is replaced by that of the areas below, and its `correction` by
            that of `rates` and the events counted.
        counted_area_mm2: area in which events were counted.
        missing_area_mm2: area of frames that should be there and are not, or cannot be used.
        contacts: contacts of CTCs by kind of partner: {'observed': number, 'expected': number by chance at the local
            density, ...}; empty where they were not measured.
        notes: sentences that belong beside the counts.
        folded: class that the panel cannot tell to what its events are called, see `ModelCard.folded`.
        rates: sensitivity and false calls on the model's card; None where there are none.
        rates_unfit: why they are not those of this cartridge; '' where they are.
    """

    basis: CountBasis = field(default_factory=CountBasis)
    counted_area_mm2: float = 0.0
    missing_area_mm2: float = 0.0
    contacts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    folded: Mapping[str, str] = field(default_factory=dict)
    rates: CallRates | None = None
    rates_unfit: str = ""

    @property
    def counted_share(self) -> float:
        """Share of the area that was counted; 1 where no area is known."""
        area = self.counted_area_mm2 + self.missing_area_mm2
        return self.counted_area_mm2 / area if area > 0 else 1.0

    @property
    def why_uncorrected(self) -> str:
        """Why counts are not corrected, '' where they are."""
        if self.rates is None:
            return "the model's card states no sensitivity and no false calls"
        return self.rates_unfit or ("nothing was counted" if self.counted_share == 0 else "")


@dataclass(frozen=True)
class _Events:
    """Masks (N,) over the rows that count.

    Attributes:
        label: called class.
        assigned: whether the call stands.
        called: assigned, of a class that contains a CTC.
        review: for review.
        reachable: not called, but unassigned with a CTC in reach or for review.
    """

    label: np.ndarray
    assigned: np.ndarray
    called: np.ndarray
    review: np.ndarray
    reachable: np.ndarray


def columns_to_count(panel: Panel) -> list[str]:
    """Columns of `events.parquet` that counts are made from."""
    targets = [f"positive_{channel.marker}" for channel in panel.channels if channel.role == "target"]
    names = ["counted", "label", "unassigned", "review", "p_contains_ctc", "phenotype", "partners", "tumour_nuclei"]
    return names + targets


def count_events(
    columns: Mapping[str, np.ndarray], schema: LabelSchema, panel: Panel, settings: CountSettings
) -> dict[str, Any]:
    """Count the events of a cartridge.

    Only rows with `counted` are counted. An unassigned row belongs to no class; it is reported by itself, with what it
    would do to the count of events that contain a CTC.

    Args:
        columns: columns of `events.parquet`, all of one length; read are those of `columns_to_count`.
        schema: classes of the model; without a roll-up 'contains_ctc' the parts about CTCs are None.
        panel: channels of the cartridge.
        settings: see `CountSettings`.

    Returns:
        Content of `counts.json`: plain dicts, lists, texts, numbers and None. See `estimate` for one count.
    """
    rows = np.asarray(columns["counted"], dtype=bool)
    kept = {name: np.asarray(columns[name])[rows] for name in columns_to_count(panel)}
    events = _masks(kept, schema)
    basis, area = _basis(settings, _correction(events, schema, settings))
    has_ctc = CONTAINS_CTC in schema.rollups
    return {
        "notice": "for research use only",
        "interval_level": LEVEL,
        "blood_volume_ml": basis.blood_volume_ml,
        "cut_offs": list(basis.cut_offs),
        "cut_offs_per": "cartridge as counted" if basis.per_standard_volume is None else "7.5 mL",
        **area,
        "events": int(rows.sum()),
        "events_not_counted": int((~rows).sum()),
        "unassigned": int((~events.assigned).sum()),
        "for_review": int(events.review.sum()),
        "classes": {
            name: estimate(_number(events, name), basis) for name in schema.classes if name not in settings.folded
        },
        "not_told": dict(settings.folded),
        CONTAINS_CTC: estimate(int(events.called.sum()), basis, correct=True) if has_ctc else None,
        "correction": _correction_record(basis.correction, settings) if has_ctc else None,
        "doubt": _doubt(events, basis) if has_ctc else None,
        "phenotypes": _phenotypes(kept, events, panel, basis) if has_ctc else None,
        "targets": _targets(kept, events, panel) if has_ctc else None,
        "clusters": _clusters(kept, events, panel, basis, settings.contacts) if has_ctc else None,
        "notes": _notes(basis, settings, has_ctc, int(events.called.sum())),
    }


def _masks(kept: Mapping[str, np.ndarray], schema: LabelSchema) -> _Events:
    label = kept["label"]
    assigned = ~kept["unassigned"].astype(bool)
    review = kept["review"].astype(bool)
    called = assigned & np.isin(label, schema.rollups.get(CONTAINS_CTC, ()))
    near = kept["p_contains_ctc"].astype(np.float64) >= CTC_IN_REACH
    return _Events(label, assigned, called, review, ~called & (review | (~assigned & near)))


def _number(events: _Events, name: str) -> int:
    return int((events.assigned & (events.label == name)).sum())


def _correction(events: _Events, schema: LabelSchema, settings: CountSettings) -> Correction | None:
    """Correction by the rates on the card for the events counted; None where there are none or they do not fit."""
    if settings.rates is None or settings.why_uncorrected:
        return None
    inside = schema.rollups[CONTAINS_CTC]
    others = {name: int((events.label == name).sum()) for name in schema.classes if name not in inside}
    return correction_of(settings.rates, others)


def _correction_record(correction: Correction | None, settings: CountSettings) -> dict[str, Any] | None:
    """What counts are corrected by, or why they are not; None where the card states no rates."""
    if settings.rates is None:
        return None
    record: dict[str, Any] = {"applied": correction is not None, "reason": settings.why_uncorrected or None}
    if correction is not None:
        names = settings.rates.false_calls
        record["events_counted"] = {n: f.counted for n, f in zip(names, correction.false_calls, strict=True)}
        record["false_calls_expected"] = correction.expected_false_calls
    return {**record, "method": CORRECTION_METHOD, "rates": settings.rates.to_dict()}


def _basis(settings: CountSettings, correction: Correction | None) -> tuple[CountBasis, dict[str, float]]:
    share = settings.counted_share
    basis = replace(settings.basis, counted_share=share, correction=correction)
    area = {"counted_area_mm2": settings.counted_area_mm2, "missing_area_mm2": settings.missing_area_mm2}
    return basis, {**area, "counted_share": share}


def _doubt(events: _Events, basis: CountBasis) -> dict[str, Any]:
    """What the events in doubt would do to the count of events that contain a CTC."""
    called, doubtful = int(events.called.sum()), int((events.called & events.review).sum())
    reachable = int(events.reachable.sum())
    unassigned = int((events.reachable & ~events.assigned).sum())
    return {
        "called_for_review": doubtful,
        "not_called_in_reach": reachable,
        "of_these_unassigned": unassigned,
        "reach": CTC_IN_REACH,
        "if_none_is_a_ctc": estimate(called - doubtful, basis),
        "if_all_are_ctcs": estimate(called + reachable, basis),
    }


def _phenotypes(
    kept: Mapping[str, np.ndarray], events: _Events, panel: Panel, basis: CountBasis
) -> dict[str, Any] | None:
    """Counts of the epithelial to mesenchymal states; None where the panel has no marker that tells them."""
    if not {"epithelial", "mesenchymal"} & set(panel.roles):
        return None
    phenotype = kept["phenotype"][events.called].astype(str)
    return {name: estimate(int((phenotype == name).sum()), basis) for name in PHENOTYPES}


def _targets(kept: Mapping[str, np.ndarray], events: _Events, panel: Panel) -> dict[str, Any]:
    """Per target marker: positive events among those that contain a CTC, with the exact interval of their share."""
    result = {}
    for channel in panel.channels:
        if channel.role == "target":
            values = kept[f"positive_{channel.marker}"][events.called]
            known = np.array([value is not None and value == value for value in values], dtype=bool)
            positive, total = int(np.sum(values[known].astype(bool))), int(known.sum())
            result[channel.marker] = {
                "positive": positive,
                "of": total,
                "share": positive / total if total else None,
                "share_interval": list(proportion_interval(positive, total)),
            }
    return result


def _clusters(
    kept: Mapping[str, np.ndarray],
    events: _Events,
    panel: Panel,
    basis: CountBasis,
    contacts: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Counts of CTC events by what the CTC touches; an event with two kinds of partner counts in both.

    None for neutrophils and platelets where no channel shows them: a neutrophil is then an 'other_leukocyte'.
    """
    partners = [set(text.split("+")) for text in kept["partners"][events.called].astype(str)]
    nuclei = kept["tumour_nuclei"].astype(np.int64)[events.called]
    alone = np.array([not kinds & set(PARTNERS) for kinds in partners], dtype=bool)
    result: dict[str, Any] = {"homotypic": estimate(int((alone & (nuclei >= 2)).sum()), basis)}
    for name in PARTNERS:
        shown = name in panel.roles or name == "other_leukocyte"
        result[name] = estimate(sum(name in kinds for kinds in partners), basis) if shown else None
    for name, entry in result.items():
        if entry is not None:
            entry["contacts"] = dict(contacts[name]) if name in contacts else None
    result["contacts"] = {name: dict(values) for name, values in contacts.items() if name not in result}
    return result


def _notes(basis: CountBasis, settings: CountSettings, has_ctc: bool, called: int) -> list[str]:
    notes = list(settings.notes)
    notes += [
        f"Events of class {source} are not told apart on this panel: they are counted as {target}."
        for source, target in settings.folded.items()
    ]
    if settings.missing_area_mm2 > 0:
        effect = "counts are of the area counted"
        if basis.counted_share == 0:
            effect = "nothing is known of its events, and no count of 0 means that there are none"
        elif basis.per_standard_volume is not None:
            effect = "counts per 7.5 mL take the rest to hold as many events per area"
        notes.append(f"{100 * (1 - basis.counted_share):.1f} % of the cartridge could not be counted: {effect}.")
    if has_ctc:
        notes += _correction_notes(basis.correction, settings, called)
    if basis.partial:
        notes.append(
            "Only a part of the cartridge was scanned, of an unknown share of the blood: nothing is stated per 7.5 mL, "
            "and cut-offs are compared with the count of the part."
        )
    elif basis.blood_volume_ml is None:
        notes.append("The blood volume is not known: cut-offs are compared with the count of the cartridge.")
    return notes


def _correction_notes(correction: Correction | None, settings: CountSettings, called: int) -> list[str]:
    """What has to be said of the correction, or of its lack."""
    if correction is None:
        return [f"Counts are {UNCORRECTED}: {settings.why_uncorrected}."]
    notes = []
    if settings.rates is not None and settings.rates.simulated:
        notes.append("Corrected counts rest on rates that were measured on simulated cells.")
    if probability_of_so_few(called, correction) < LEAST_PROBABILITY_OF_SO_FEW:
        notes.append(
            f"Fewer events were called ({called}) than false calls alone were expected "
            f"({correction.expected_false_calls:,.0f}): the rates on the model's card do not hold for this cartridge, "
            "and neither does the corrected count."
        )
    return notes
