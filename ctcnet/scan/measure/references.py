"""Reference: how a cartridge's own leukocytes stain, and the thresholds for marker calls that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import bdtrc, ndtr, ndtri

from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.measure.event_columns import Columns, flagged, in_classes, is_kind, leukocyte_classes

TUMOUR_ROLES: tuple[str, ...] = ("epithelial", "mesenchymal", "target")
"""Roles whose markers are called positive above the level of leukocytes."""

_CALLED_ROLES = (*TUMOUR_ROLES, "leukocyte", "neutrophil", "platelet")

FEWEST_LEUKOCYTES = 50
"""With fewer leukocytes than this their distribution says too little, and thresholds come from the noise."""

NOISE_MULTIPLE = 5.0
"""Threshold in standard deviations of a pixel's noise where there are too few leukocytes."""

LEAST_NOISE_MULTIPLE = 3.0
"""No threshold is lower than this, however little the leukocytes stain."""

PLATELET_NOISE_MULTIPLE = 8.0
"""A platelet's brightest pixel is at least this high: one pixel out of many, so more than for a mean."""

LEAST_SEPARATION = np.log(3.0)
"""Leukocytes with and without a neutrophil marker differ by at least this factor, else they are one population."""

LEAST_SHARE = 0.02
"""Least share of leukocytes on either side of a threshold between two populations."""


@dataclass(frozen=True)
class MarkerReference:
    """One marker on the cartridge's leukocytes.

    Attributes:
        marker, role: of the channel.
        measure: column that the threshold is for, such as 'mean_CK', in counts above the local background.
        leukocytes: number of leukocytes that it rests on.
        median: their median in counts; NaN without leukocytes.
        log_sd: robust standard deviation of the logarithm on the side of the threshold; NaN likewise.
        threshold: in counts.
        implied_rate: share of leukocytes that a log-normal distribution puts on the wrong side of the threshold (above
            it, for leukocyte markers below it); NaN where the threshold does not come from that distribution.
        observed: number of these leukocytes on the wrong side; the observed rate is observed / leukocytes.
        source: 'leukocytes', 'noise' or 'two_populations'.
    """

    marker: str
    role: str
    measure: str
    leukocytes: int
    median: float
    log_sd: float
    threshold: float
    implied_rate: float
    observed: int
    source: str

    @property
    def observed_rate(self) -> float:
        """Share of the leukocytes on the wrong side of the threshold; NaN without leukocytes."""
        return self.observed / self.leukocytes if self.leukocytes else float("nan")


@dataclass(frozen=True)
class LeukocyteReference:
    """Thresholds of a cartridge.

    Attributes:
        leukocytes: number of leukocytes found fit to be measured: whole, not saturated, and outside of clusters where
            that leaves enough.
        markers: marker name -> its reference, for the roles epithelial, mesenchymal, target, leukocyte, neutrophil and
            platelet.
        notes: what a user must know.
    """

    leukocytes: int
    markers: Mapping[str, MarkerReference]
    notes: tuple[Note, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the record; NaN becomes None."""
        entries = {}
        for name, reference in self.markers.items():
            content = {**asdict(reference), "observed_rate": reference.observed_rate}
            entries[name] = {k: None if isinstance(v, float) and v != v else v for k, v in content.items()}
        return {"leukocytes": self.leukocytes, "markers": entries}


def reference_columns(panel: Panel) -> list[str]:
    """Columns that `leukocyte_reference` reads from the events of a scan."""
    called = [channel for channel in panel.channels if channel.role in _CALLED_ROLES]
    names = ["label", "unassigned", "kind", "saturated", "at_edge", "parent"]
    names += [f"{figure}_{channel.marker}" for channel in called for figure in ("mean", "snr")]
    return names + [f"max_{channel.marker}" for channel in called if channel.role == "platelet"]


def leukocyte_reference(
    columns: Columns,
    panel: Panel,
    labels: LabelSchema,
    *,
    false_positive_rate: float = 1e-3,
    false_negative_rate: float = 1e-2,
) -> LeukocyteReference:
    """Thresholds for marker calls from the events of a cartridge that are called leukocytes.

    Means over the cell x are taken as log-normal with a start: log(x + noise / 4) has the median m and, on the side
    of the threshold, the robust standard deviation s: the distance from m of the quantile at one standard deviation,
    above the median or half of that at two where it is larger. The threshold is exp(m + z s) - noise / 4, z the normal
    quantile of the rate (-z for leukocyte markers), and at least 3 standard deviations of the noise.

    Args:
        columns: events of the cartridge: label, unassigned, kind, `mean_M` and `snr_M` of every marker (`max_M` for
            platelet markers), and where there are such the flags saturated and at_edge, and parent: 0 or more for a
            member of a cluster, which may hold its neighbour's stain and is used only where fewer than
            `FEWEST_LEUKOCYTES` are single.
        false_positive_rate: share of leukocytes that may be called positive for a tumour marker.
        false_negative_rate: share of leukocytes that may be called negative for a leukocyte marker.
    """
    fit = in_classes(columns, leukocyte_classes(labels)) & is_kind(columns, "cell")
    fit &= ~flagged(columns, "saturated") & ~flagged(columns, "at_edge")
    fit = _single(fit, columns)
    count = int(fit.sum())
    markers: dict[str, MarkerReference] = {}
    notes: list[Note] = []
    for channel in panel.channels:
        rate = false_negative_rate if channel.role == "leukocyte" else false_positive_rate
        if channel.role in _CALLED_ROLES:
            markers[channel.marker] = _marker_reference(columns, fit, channel.marker, channel.role, rate)
    if count < FEWEST_LEUKOCYTES and markers:
        notes.append(_few_leukocytes(count))
    notes += [_heavy_tail(reference) for reference in markers.values() if _exceeds(reference)]
    return LeukocyteReference(count, markers, tuple(notes))


def _single(fit: np.ndarray, columns: Columns) -> np.ndarray:
    """Rows of `fit` outside clusters; all of them where fewer than `FEWEST_LEUKOCYTES` lie outside."""
    if "parent" not in columns:
        return fit
    single = fit & (np.asarray(columns["parent"]) < 0)
    return single if single.sum() >= FEWEST_LEUKOCYTES else fit


def _marker_reference(columns: Columns, fit: np.ndarray, marker: str, role: str, rate: float) -> MarkerReference:
    measure = f"max_{marker}" if role == "platelet" else f"mean_{marker}"
    noise = _noise(columns, marker)
    values = np.asarray(columns[measure], np.float64)[fit]
    count = len(values)
    multiple = PLATELET_NOISE_MULTIPLE if role == "platelet" else NOISE_MULTIPLE
    start = noise / 4
    logs = np.log(np.maximum(values, 0) + start) if noise > 0 else np.log(np.maximum(values, 1e-6))
    if count < FEWEST_LEUKOCYTES:
        median = float(np.median(values)) if count else float("nan")
        return _reference(marker, role, values, median, float("nan"), multiple * noise, float("nan"), "noise")
    if role == "neutrophil":
        return _between_populations(marker, values, logs, start, multiple * noise)
    upwards = role in TUMOUR_ROLES
    middle = float(np.median(logs))
    # platelets lie on many leukocytes: the spread of those without is that of the lower half, mirrored
    spread = _robust_sd(logs, middle, upper=upwards)
    z = -float(ndtri(rate))
    threshold = np.exp(middle + (-z if role == "leukocyte" else z) * spread) - start
    least = (PLATELET_NOISE_MULTIPLE if role == "platelet" else LEAST_NOISE_MULTIPLE) * noise
    implied = rate
    if threshold < least:
        threshold = least
        beyond = (np.log(threshold + start) - middle) / spread if spread > 0 else np.inf
        implied = float(ndtr(beyond if role == "leukocyte" else -beyond))
    median = float(np.exp(middle) - start)
    return _reference(marker, role, values, median, spread, float(threshold), implied, "leukocytes")


def _robust_sd(logs: np.ndarray, middle: float, *, upper: bool) -> float:
    """Spread above or below the median. Above, two quantiles are looked at, so that a second population that stains
    raises it; below only the nearer one, so that the few stainless cells among leukocytes do not."""
    if not upper:
        return float(middle - np.quantile(logs, ndtr(-1.0)))
    one, two = np.quantile(logs, ndtr([1.0, 2.0]))
    return float(max(one - middle, (two - middle) / 2))


def _between_populations(
    marker: str, values: np.ndarray, logs: np.ndarray, start: float, from_noise: float
) -> MarkerReference:
    """Threshold between leukocytes with and without a marker: the split of least variance within (Otsu 1979)."""
    ordered = np.sort(logs)
    count = len(ordered)
    below = np.arange(1, count)
    total = np.cumsum(ordered)
    low, high = total[:-1] / below, (total[-1] - total[:-1]) / (count - below)
    allowed = (np.minimum(below, count - below) >= LEAST_SHARE * count) & (high - low >= LEAST_SEPARATION)
    median = float(np.median(values))
    if not allowed.any():
        return _reference(marker, "neutrophil", values, median, float("nan"), from_noise, float("nan"), "noise")
    between = np.where(allowed, below * (count - below) * (high - low) ** 2, -1)
    best = int(between.argmax())
    threshold = max(float(np.exp((ordered[best] + ordered[best + 1]) / 2) - start), from_noise)
    return _reference(marker, "neutrophil", values, median, float("nan"), threshold, float("nan"), "two_populations")


def _reference(
    marker: str,
    role: str,
    values: np.ndarray,
    median: float,
    log_sd: float,
    threshold: float,
    implied: float,
    source: str,
) -> MarkerReference:
    wrong = values <= threshold if role == "leukocyte" else values > threshold
    measure = f"max_{marker}" if role == "platelet" else f"mean_{marker}"
    return MarkerReference(
        marker, role, measure, len(values), median, log_sd, threshold, implied, int(wrong.sum()), source
    )


def _noise(columns: Columns, marker: str) -> float:
    """Standard deviation of the channel's noise in counts: the median over events of mean over signal-to-noise."""
    mean = np.asarray(columns[f"mean_{marker}"], np.float64)
    snr = np.asarray(columns[f"snr_{marker}"], np.float64)
    usable = snr != 0
    return float(np.median(mean[usable] / snr[usable])) if usable.any() else 0.0


def _few_leukocytes(count: int) -> Note:
    return Note(
        "few_leukocytes",
        f"only {count} leukocytes fit to be measured were found, fewer than {FEWEST_LEUKOCYTES}: markers are called "
        "against the noise of the background, not against the cartridge's leukocytes, and dim or unspecific stain may "
        "be called positive",
    )


def _exceeds(reference: MarkerReference) -> bool:
    """Whether more leukocytes lie on the wrong side of a threshold than three times the implied rate explains."""
    if reference.role not in (*TUMOUR_ROLES, "leukocyte") or not reference.implied_rate > 0:
        return False
    chance = bdtrc(reference.observed - 1, reference.leukocytes, min(1.0, 3 * reference.implied_rate))
    return bool(chance < 1e-3)


def _heavy_tail(reference: MarkerReference) -> Note:
    share, implied = 100 * reference.observed_rate, 100 * reference.implied_rate
    found = f"{reference.observed} of {reference.leukocytes} leukocytes ({share:.2g} %)"
    expected = f"the threshold for {reference.marker}, where {implied:.2g} % were to be expected"
    if reference.role == "leukocyte":
        return Note(
            "leukocytes_below_threshold",
            f"{found} lie below {expected}: dim leukocytes, or other cells called leukocytes; "
            f"{reference.marker}-negative calls are less certain",
        )
    return Note(
        "leukocytes_above_threshold",
        f"{found} lie above {expected}: unspecific stain, specks, or tumour cells called leukocytes; "
        f"{reference.marker}-positive calls are less certain",
    )
