"""Columns of a manifest: which there are, and their numbers."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

import numpy as np

from ctcnet.crops.finding import Finding
from ctcnet.crops.table_file import TextTable
from ctcnet.errors import ManifestError, PanelError
from ctcnet.panel import Panel

REQUIRED_FOR_TRAINING = ("path", "label", "group")
OPTIONAL = ("split", "cartridge", "batch", "pixel_size_um", "reader", "weight")
LEVELS = ("background", "scale")
PRIVATE_PREFIX = "x_"
"""Columns whose names begin so are the user's own and left alone."""


LEAST_SCALE, MOST_COUNTS = 1e-6, 1e9
"""Range of scales, and of backgrounds whatever their sign, in counts; beyond it float32 does not divide usefully."""


def check_columns(table: TextTable, panel: Panel, labelled: bool | None, findings: list[Finding]) -> None:
    """Add a finding for each column that is missing or unknown."""
    required = REQUIRED_FOR_TRAINING if labelled else ("path",)
    missing = [name for name in required if name not in table.columns]
    if missing:
        error = ManifestError(
            f"has no column {', '.join(missing)}",
            where=table.path,
            expected=f"the columns {', '.join(required)}",
            found=", ".join(table.columns),
            fix="name the columns in the first line",
        )
        findings.append(Finding("missing_column", error))
    known = (*REQUIRED_FOR_TRAINING, *OPTIONAL)
    for name in table.columns:
        kind, _, marker = name.partition("_")
        if kind in LEVELS and marker:
            _check_level_column(table, name, marker, panel, findings)
        elif name not in known and not name.startswith(PRIVATE_PREFIX):
            close = get_close_matches(name, known, n=1)
            error = ManifestError(
                f"has an unknown column '{name}'",
                where=table.path,
                expected=f"one of: {', '.join(known)}, background_<channel>, scale_<channel>",
                fix=f"did you mean '{close[0]}'?" if close else f"remove it, or name it '{PRIVATE_PREFIX}{name}'",
            )
            findings.append(Finding("unknown_column", error))


def _check_level_column(table: TextTable, name: str, marker: str, panel: Panel, findings: list[Finding]) -> None:
    same = [column for column in table.columns if column.casefold() == name.casefold()]
    if marker.casefold() not in {known.casefold() for known in panel.markers}:
        error = PanelError(
            f"column '{name}' names a channel that the panel '{panel.name}' does not have",
            where=table.path,
            expected=f"one of: {', '.join(panel.markers)}",
            found=marker,
        )
        findings.append(Finding("unknown_column", error))
    elif len(same) > 1 and name == same[0]:
        error = ManifestError(f"names one channel twice: {', '.join(same)}", where=table.path)
        findings.append(Finding("unknown_column", error))


def text_column(table: TextTable, name: str) -> list[str]:
    """Values of a column; "" throughout where the manifest does not have it."""
    return table.columns.get(name) or [""] * len(table.lines)


def number_column(
    table: TextTable, name: str, allowed: Callable[[np.ndarray], np.ndarray], expected: str, findings: list[Finding]
) -> np.ndarray:
    """Values of a column as numbers, float64 (rows,); NaN where missing, and where wrong (with a finding)."""
    values = text_column(table, name)
    try:
        numbers = np.array([value or "nan" for value in values], dtype=np.float64)
        wrong = np.zeros(len(values), dtype=bool)
    except ValueError:
        parsed = [_number(value) for value in values]
        numbers = np.array([np.nan if number is None else number for number in parsed])
        wrong = np.array([number is None for number in parsed])
    with np.errstate(invalid="ignore"):
        wrong |= ~np.isnan(numbers) & ~(np.isfinite(numbers) & allowed(numbers))
    for row in np.flatnonzero(wrong):
        error = ManifestError(
            f"column '{name}' holds no usable value", where=table.where(int(row)), expected=expected, found=values[row]
        )
        findings.append(Finding("wrong_value", error))
    return np.where(wrong, np.nan, numbers)


def _number(value: str) -> float | None:
    try:
        return float(value or "nan")
    except ValueError:
        return None


def _usable_scale(values: np.ndarray) -> np.ndarray:
    return (values >= LEAST_SCALE) & (values <= MOST_COUNTS)


def _usable_counts(values: np.ndarray) -> np.ndarray:
    return np.abs(values) <= MOST_COUNTS


def level_columns(table: TextTable, panel: Panel, findings: list[Finding]) -> tuple[np.ndarray, np.ndarray]:
    """Background and scale of each row, float32 (rows, C) each in counts, NaN where not stated."""
    count = len(table.lines)
    levels = {kind: np.full((count, len(panel.channels)), np.nan, dtype=np.float32) for kind in LEVELS}
    folded = {name.casefold(): name for name in table.columns}
    for kind in LEVELS:
        for channel, marker in enumerate(panel.markers):
            name = folded.get(f"{kind}_{marker}".casefold())
            if name is None:
                continue
            if kind == "scale":
                values = number_column(
                    table, name, _usable_scale, f"counts above 0, {LEAST_SCALE:g} to {MOST_COUNTS:g}", findings
                )
            else:
                values = number_column(table, name, _usable_counts, f"counts, at most {MOST_COUNTS:g}", findings)
            levels[kind][:, channel] = values
    fed = np.array([role != "none" for role in panel.roles])
    stated = np.isfinite(np.concatenate([levels["background"][:, fed], levels["scale"][:, fed]], axis=1))
    for row in np.flatnonzero(stated.any(axis=1) & ~stated.all(axis=1)):
        error = ManifestError(
            "states background or scale for some channels only",
            where=table.where(int(row)),
            expected="background_<channel> and scale_<channel> for every channel of the panel, or none",
            fix="complete the columns, or leave all of the row's levels empty",
        )
        findings.append(Finding("incomplete_levels", error))
    return levels["background"], levels["scale"]
