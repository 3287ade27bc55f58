"""Manifests: one row per crop, or per crop and reader, brought to one row per crop."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

import numpy as np

from ctcnet.crops.finding import Finding
from ctcnet.crops.manifest_columns import (
    PRIVATE_PREFIX,
    check_columns,
    level_columns,
    number_column,
    text_column,
)
from ctcnet.crops.table_file import TextTable
from ctcnet.errors import CtcnetError, LabelError, ManifestError, SplitError
from ctcnet.labels import LabelSchema, schema_from_labels
from ctcnet.panel import Panel

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CropTable:
    """What a manifest says, one row per crop; the columns of `LabelledCrops` without the pixels.

    Attributes:
        columns: name -> array of length N, as in `LabelledCrops`.
        where: for each row its place in the manifest, for messages.
    """

    schema: LabelSchema | None
    targets: np.ndarray | None
    columns: dict[str, np.ndarray]
    where: list[str] = field(repr=False)


def parse_manifest(
    table: TextTable, panel: Panel, schema: LabelSchema | None, labelled: bool | None, findings: list[Finding]
) -> CropTable | None:
    """Check a manifest and bring it to one row per crop, adding a finding for everything that is wrong.

    Args:
        table: the manifest's columns.
        panel: channels that the levels' columns may name.
        schema: classes; None takes the distinct labels, sorted by name.
        labelled: True needs label and group in every row; None takes labels where there are some; False ignores them.
        findings: problems are added here.

    Returns:
        The rows, as good as they could be read; None where the manifest has no column 'path'.
    """
    check_columns(table, panel, labelled, findings)
    if "path" not in table.columns:
        return None
    crop_of_row, first = _crops(table, findings)
    schema, targets = _targets(table, crop_of_row, len(first), schema, labelled, findings)
    columns: dict[str, np.ndarray] = {}
    for name in ("path", "group", "cartridge", "batch", "split"):
        columns[name] = np.array(text_column(table, name), dtype=object)[first]
    weight = number_column(table, "weight", lambda x: (x >= 0) & (x <= 1e6), "0 to 1e6", findings)[first]
    columns["weight"] = np.where(np.isnan(weight), 1, weight).astype(np.float32)
    size_um = number_column(
        table, "pixel_size_um", lambda x: (x >= 1e-3) & (x < 100), "um, 0.001 or more, below 100", findings
    )
    columns["pixel_size_um"] = size_um[first]
    background, scale = level_columns(table, panel, findings)
    columns["background"], columns["scale"] = background[first], scale[first]
    where = [table.where(int(row)) for row in first]
    if not columns["weight"].any():
        error = ManifestError("gives every crop the weight 0", where=table.path, fix="give some crops a weight above 0")
        findings.append(Finding("no_weight", error))
    if labelled and "group" in table.columns:
        for row in np.flatnonzero(columns["group"] == ""):
            findings.append(Finding("missing_group", ManifestError("has no group", where=where[row])))
    _check_splits(columns["split"], columns["group"], where, findings)
    return CropTable(schema, targets, columns, where)


def _crops(table: TextTable, findings: list[Finding]) -> tuple[np.ndarray, np.ndarray]:
    """Crop number of each row, and first row of each crop; rows of one crop must differ in reader alone."""
    readers = text_column(table, "reader")
    crop_of_path: dict[str, int] = {}
    crop_of_row, first, seen = [], [], set()
    for row, path in enumerate(table.columns["path"]):
        if not path:
            findings.append(Finding("missing_path", ManifestError("has no path", where=table.where(row))))
        key = posixpath.normpath(path) if path else f"\0{row}"
        crop = crop_of_path.setdefault(key, len(first))
        crop_of_row.append(crop)
        if crop == len(first):
            first.append(row)
        else:
            _check_repeat(table, row, first[crop], (crop, readers[row]) in seen or not readers[row], findings)
        seen.add((crop, readers[row]))
    return np.array(crop_of_row, dtype=np.int64), np.array(first, dtype=np.int64)


def _check_repeat(table: TextTable, row: int, first: int, same_reader: bool, findings: list[Finding]) -> None:
    path = table.columns["path"][row]
    differing = [
        name
        for name, values in table.columns.items()
        if name not in ("path", "label", "reader")
        and not name.startswith(PRIVATE_PREFIX)
        and values[row] != values[first]
    ]
    for name in differing:
        kind = SplitError if name == "group" else ManifestError
        error = kind(
            f"'{path}' stands twice with different values of '{name}'",
            where=table.where(row),
            expected=f"{table.columns[name][first]}, as in {table.where(first)}",
            found=table.columns[name][row],
        )
        findings.append(Finding("same_cell_in_two_groups" if name == "group" else "readers_differ", error))
    if same_reader:
        error = ManifestError(
            f"'{path}' stands twice without different readers",
            where=table.where(row),
            found=f"first in {table.where(first)}",
            fix="remove the row, or name in the column 'reader' who labelled it",
        )
        findings.append(Finding("duplicate_row", error))


def _targets(
    table: TextTable,
    crop_of_row: np.ndarray,
    count: int,
    schema: LabelSchema | None,
    labelled: bool | None,
    findings: list[Finding],
) -> tuple[LabelSchema | None, np.ndarray | None]:
    labels = text_column(table, "label")
    if labelled is False or "label" not in table.columns or (labelled is None and not any(labels)):
        return schema, None
    for row in [row for row, label in enumerate(labels) if not label]:
        findings.append(Finding("missing_label", LabelError("has no label", where=table.where(row))))
    if schema is None:
        distinct = set(labels) - {""}
        if labelled is None and len(distinct) < 2:
            return None, None
        try:
            schema = schema_from_labels(distinct)
        except LabelError as error:
            findings.append(
                Finding("wrong_labels", LabelError(error.what, where=table.path, found=error.found or error.where))
            )
            return None, None
    class_of_label = {label: number for number, label in enumerate(schema.classes)}
    for label in sorted(set(labels) - set(schema.classes) - {""}):
        try:
            schema.index(label, where=f"{table.where(labels.index(label))} ({labels.count(label)} rows)")
        except CtcnetError as error:
            findings.append(Finding("label_outside_schema", error))
    classes = np.array([class_of_label.get(label, -1) for label in labels], dtype=np.int64)
    votes = np.zeros((count, len(schema.classes)), dtype=np.float64)
    known = classes >= 0
    np.add.at(votes, (crop_of_row[known], classes[known]), 1)
    return schema, (votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def _check_splits(split: np.ndarray, group: np.ndarray, where: list[str], findings: list[Finding]) -> None:
    stated = split != ""
    if not stated.any():
        return
    for row in np.flatnonzero(~np.isin(split, SPLITS)):
        error = ManifestError(
            "column 'split' holds no usable value" if split[row] else "states no split, while other rows do",
            where=where[row],
            expected="train, val or test",
            found=split[row] or "nothing",
        )
        findings.append(Finding("wrong_split", error))
    splits_of_group: dict[str, set[str]] = {}
    for name, part in zip(group[stated], split[stated], strict=True):
        splits_of_group.setdefault(name, set()).add(part)
    for name, parts in splits_of_group.items():
        if name and len(parts) > 1:
            row = int(np.flatnonzero(group == name)[0])
            error = SplitError(
                f"group '{name}' is in more than one split",
                where=where[row],
                expected="each group in one split",
                found=", ".join(sorted(parts)),
                fix="give all rows of the group the same split",
            )
            findings.append(Finding("group_in_two_splits", error))
