"""Everything that is wrong with a source of crops, at once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctcnet.crops.finding import Finding
from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.crops.packing import check_crop_scale
from ctcnet.crops.pixel_checks import check_pixels
from ctcnet.crops.reading import scan_crops
from ctcnet.crops.splits import absent_classes, split_groups
from ctcnet.errors import LabelError, ManifestError, SplitError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel
from ctcnet.resampling import DEFAULT_CROP_SIZE_PX

SHIPPED_CONFIGURATION = "configs/five_class.yaml"
VAL_FRACTION, TEST_FRACTION, SPLIT_SEED = 0.15, 0.2, 0
"""How the shipped configuration divides groups where no split is given."""


class CheckReport(NamedTuple):
    """What a check found.

    Attributes:
        crops: number of crops, 0 where the source could not be read at all.
        findings: errors first.
    """

    crops: int
    findings: list[Finding]

    def count(self, severity: str) -> int:
        """Number of findings that are of the severity 'error' or 'warning'."""
        return sum(finding.severity == severity for finding in self.findings)


def check_crops(
    source: str | Path,
    panel: Panel | None,
    schema: LabelSchema | None = None,
    *,
    assumed_pixel_size_um: float | None = None,
    labelled: bool = True,
    pixel_size_um: float | None = None,
    crop_size_px: int = DEFAULT_CROP_SIZE_PX,
) -> CheckReport:
    """Find every problem of a manifest, folder or store: its table, its labels and groups, and each crop's pixels.

    Args:
        source, panel, schema, assumed_pixel_size_um: as in `read_crops`.
        labelled: whether the crops are for training (or evaluation) and need labels and groups.
        pixel_size_um: micrometres per pixel of the model that the crops are for; None takes the panel's as `fit` does,
            else each image's own as `pack` does.
        crop_size_px: side of that model's crops.

    Raises:
        ManifestError, SettingError: there is no such source, or an argument is wrong.
    """
    check_crop_scale(pixel_size_um, crop_size_px)
    scanned = scan_crops(source, panel, schema, assumed_pixel_size_um=assumed_pixel_size_um, labelled=labelled)
    findings = list(scanned.findings)
    if scanned.crops is not None:
        findings += [Finding("note", ManifestError(note, where=source), "warning") for note in scanned.crops.notes]
        findings += _check_levels(scanned.crops, source)
        if labelled:
            findings += _check_classes(scanned.crops, source)
        model_um = scanned.crops.panel.pixel_size_um if pixel_size_um is None else pixel_size_um
        findings += check_pixels(scanned.crops, model_um, crop_size_px)
    findings.sort(key=lambda finding: finding.severity != "error")
    return CheckReport(0 if scanned.crops is None else len(scanned.crops), findings)


def _check_classes(crops: LabelledCrops, source: str | Path) -> list[Finding]:
    if crops.targets is None or crops.schema is None:
        return []
    findings = []
    groups = set(crops.group) - {""}
    if len(groups) == 1:
        error = SplitError("has a single group, so nothing can be held apart", where=source, found=next(iter(groups)))
        findings.append(Finding("one_group", error))
    for number, name in enumerate(crops.schema.classes):
        rows = crops.targets[:, number] > 0
        in_groups = sorted(set(crops.group[rows]) - {""})
        if not rows.any():
            fix = "add crops of it, or use a schema without it"
            error = LabelError(f"class '{name}' has no crops", where=source, fix=fix)
            findings.append(Finding("class_without_crops", error))
        elif len(in_groups) == 1:
            error = SplitError(
                f"class '{name}' is in one group only, so it cannot be tested on groups never trained on",
                where=source,
                expected="crops of at least two groups",
                found=f"{int(rows.sum())} crop(s) in '{in_groups[0]}'",
            )
            findings.append(Finding("class_with_one_group", error))
    if (crops.split != "").any():
        findings += _check_given_splits(crops, source)
        return findings + _check_weights(crops, crops.split == "train", source)
    if not crops.targets.any() or len(groups) < 2 or (crops.group == "").any():
        return findings + _check_weights(crops, np.ones(len(crops), dtype=bool), source)  # the rest is said already
    return findings + _check_drawn_splits(crops, crops.targets, crops.schema, source)


def _check_drawn_splits(
    crops: LabelledCrops, targets: np.ndarray, schema: LabelSchema, source: str | Path
) -> list[Finding]:
    """Divide the groups as a fit of the shipped configuration does, and look at what it would train on.

    Groups that can be divided without a test part alone are a warning: a fit has to be told so.
    """
    division, first_error = None, None
    for test_fraction in (TEST_FRACTION, 0.0):
        try:
            division = _drawn_splits(crops.group, targets, schema, source, test_fraction)
            break
        except SplitError as error:
            first_error = first_error or error
    train = np.ones(len(crops), dtype=bool) if division is None else division == "train"
    findings = _check_weights(crops, train, source)
    if first_error is not None:
        findings.append(Finding("indivisible_groups", first_error, "error" if division is None else "warning"))
    return findings


def _drawn_splits(
    group: np.ndarray, targets: np.ndarray, schema: LabelSchema, source: str | Path, test_fraction: float
) -> np.ndarray:
    """Part of each crop, object (N,), as the shipped configuration divides the groups, but for `test_fraction`.

    Classes without crops are left aside, since they are a finding of their own.

    Raises:
        SplitError: they cannot be divided so.
    """
    held = np.flatnonzero(targets.any(axis=0))
    try:
        return split_groups(
            group,
            targets[:, held],
            val_fraction=VAL_FRACTION,
            test_fraction=test_fraction,
            seed=SPLIT_SEED,
            class_names=[schema.classes[number] for number in held],
        )
    except SplitError as error:
        raise SplitError(
            f"{error.what}, as {SHIPPED_CONFIGURATION} asks",
            where=source,
            expected=error.expected,
            found=error.found,
            fix="add groups, or fit without a test part (--data.split.test_fraction 0)",
        ) from error


def _check_weights(crops: LabelledCrops, train: np.ndarray, source: str | Path) -> list[Finding]:
    """Findings for classes whose crops to train on (bool (N,)) all have the weight 0."""
    if crops.targets is None or crops.schema is None or not crops.weight.any():
        return []
    targets, weight = crops.targets[train], crops.weight[train]
    findings = []
    for number, name in enumerate(crops.schema.classes):
        rows = targets[:, number] > 0
        if rows.any() and not weight[rows].any():
            error = LabelError(
                f"every crop to train on of class '{name}' has the weight 0",
                where=source,
                found=f"{int(rows.sum())} crop(s)",
                fix="give crops of each class a weight above 0",
            )
            findings.append(Finding("class_without_weight", error))
    return findings


def _check_given_splits(crops: LabelledCrops, source: str | Path) -> list[Finding]:
    parts = set(crops.split) - {""}
    if crops.targets is None or crops.schema is None:
        return []
    findings = []
    for part in ("train", "val"):
        if part not in parts:
            error = SplitError(f"no rows are in the split '{part}'", where=source, found=", ".join(sorted(parts)))
            findings.append(Finding("missing_split", error))
    has_crops = {name for name, total in zip(crops.schema.classes, crops.targets.sum(axis=0), strict=True) if total}
    for part, absent in absent_classes(crops.split, crops.targets, crops.schema.classes).items():
        for name in absent:
            if name in has_crops:
                error = SplitError(f"class '{name}' has no crops in the split '{part}'", where=source)
                severity = "error" if part == "train" else "warning"
                findings.append(Finding("class_absent_from_split", error, severity))
    return findings


def _check_levels(crops: LabelledCrops, source: str | Path) -> list[Finding]:
    findings = []
    stated = crops.has_levels
    if stated.any() and not stated.all():
        error = ManifestError(
            f"{int((~stated).sum())} of {len(crops)} crops state no background and scale",
            where=source,
            found=f"first {crops.path[np.flatnonzero(~stated)[0]]}",
            fix="complete the columns, so that all crops are normalised alike",
        )
        findings.append(Finding("incomplete_levels", error, "warning"))
    levels = np.concatenate([crops.background, crops.scale], axis=1)
    for name in sorted(set(crops.cartridge) - {""}):
        own = levels[crops.cartridge == name]
        if not np.array_equal(own, np.broadcast_to(own[0], own.shape), equal_nan=True):
            error = ManifestError(
                f"crops of cartridge '{name}' state different background or scale",
                where=source,
                expected="one pair of levels per channel for a cartridge",
            )
            findings.append(Finding("cartridge_levels_differ", error, "warning"))
    return findings
