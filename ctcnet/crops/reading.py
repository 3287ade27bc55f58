"""`read_crops`: from whatever a user hands over to `LabelledCrops`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ctcnet.crops.file_source import LEAST_PIXEL_SIZE_UM, FileSource
from ctcnet.crops.finding import Finding, raise_first_error
from ctcnet.crops.image_file import files_of_crop, read_bytes
from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.crops.manifest import CropTable, parse_manifest
from ctcnet.crops.source_kind import SIMULATION_FILE, class_of_image, images_below, is_store, manifest_in
from ctcnet.crops.store import StoreSource, map_pixels, read_header, read_index, store_channels
from ctcnet.crops.table_file import TextTable, read_table
from ctcnet.errors import CtcnetError, LabelError, ManifestError, SettingError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel


class ScannedCrops(NamedTuple):
    """Crops as good as they could be read, and everything that was found wrong on the way.

    Attributes:
        crops: None where not even a list of crops could be had.
        where: for each row its place, for messages.
        findings: problems of the manifest, store or folder; the pixels are not looked at.
    """

    crops: LabelledCrops | None
    where: Sequence[str]
    findings: list[Finding]


def read_crops(
    source: str | Path,
    panel: Panel | None,
    schema: LabelSchema | None = None,
    *,
    assumed_pixel_size_um: float | None = None,
    labelled: bool | None = None,
) -> LabelledCrops:
    """List the crops of a manifest (CSV, Parquet), a folder of class folders, a folder of images or a packed store.

    Files are opened when they are read, not here, but their absence is noticed here.

    Args:
        source: the manifest's file, or the folder.
        panel: channels of the images; None takes a store's own, and is an error for anything else.
        schema: classes; None takes the distinct labels sorted by name, or those of a store.
        assumed_pixel_size_um: micrometres per pixel of images for which neither manifest nor OME metadata state any;
            it goes before the panel's.
        labelled: True needs a label and a group for every crop, as training does; False leaves labels aside, as
            classification does, and takes every image in a folder or below it; None takes labels where the source has
            them: a column 'label', or a folder whose images all lie in two or more class folders.

    Returns:
        One row per crop; the readers of one crop are averaged.

    Raises:
        ManifestError, LabelError, SplitError, PanelError, ImageError, SettingError: the source cannot be used; the
            first problem, with the number of others.
    """
    scanned = scan_crops(
        source, panel, schema, assumed_pixel_size_um=assumed_pixel_size_um, labelled=labelled, look_for_files=True
    )
    raise_first_error(scanned.findings)
    if scanned.crops is None:
        raise ManifestError("holds no crops that can be used", where=source)
    return scanned.crops


def scan_crops(
    source: str | Path,
    panel: Panel | None,
    schema: LabelSchema | None = None,
    *,
    assumed_pixel_size_um: float | None = None,
    labelled: bool | None = None,
    look_for_files: bool = False,
) -> ScannedCrops:
    """As `read_crops`, but collects problems with the content instead of raising the first.

    Raises:
        ManifestError, SettingError: there is no such source, or an argument is wrong.
    """
    source = Path(source)
    if assumed_pixel_size_um is not None and not LEAST_PIXEL_SIZE_UM <= assumed_pixel_size_um < 100:
        raise SettingError(
            "the stated pixel size is impossible",
            expected="micrometres per pixel, 0.001 or more, below 100",
            found=f"{assumed_pixel_size_um:g}",
            fix="give that of the images: --pixel-size-um",
        )
    if not source.exists():
        raise ManifestError("there is no such file or folder", where=source, fix="check the path")
    findings: list[Finding] = []
    source, listed = manifest_in(source)
    try:
        if is_store(source):
            crops = _store_crops(source, panel, schema, labelled)
            return ScannedCrops(crops, [f"{source}, row {row + 1}" for row in range(len(crops))], findings)
        if panel is None:
            raise SettingError("these crops need a panel", where=source, fix="state it with --panel")
        table, notes = _text_table(source, labelled)
        rows = parse_manifest(table, panel, schema, labelled, findings)
    except CtcnetError as error:
        if isinstance(error, SettingError):
            raise
        return ScannedCrops(None, [], [*findings, Finding("unusable_source", error)])
    if rows is None:
        return ScannedCrops(None, [], findings)
    folder = source if source.is_dir() else source.parent
    crops = _file_crops(rows, folder, panel, assumed_pixel_size_um, (*listed, *notes))
    if look_for_files:
        findings.extend(_missing_files(crops))
    return ScannedCrops(crops, rows.where, findings)


def _text_table(source: Path, labelled: bool | None) -> tuple[TextTable, tuple[str, ...]]:
    """A manifest's columns, or those that a folder stands for."""
    if source.is_file():
        return read_table(source), ()
    paths = images_below(source)
    classes = [class_of_image(path) for path in paths]
    columns, notes = {"path": paths}, []
    if labelled or (labelled is None and None not in classes and len(set(classes)) > 1):
        if None in classes:
            raise LabelError(
                "has images beside its class folders, which have no label",
                where=source / paths[classes.index(None)],
                expected="every image in a folder named after its class",
            )
        columns["label"] = [name or "" for name in classes]
        columns["group"] = list(paths)
        notes.append(
            "class folders do not say which crops belong to one patient: each crop counts as a group of its own, so "
            "that crops of one patient may stand on both sides of a split; a manifest with a column group mends this"
        )
    return TextTable(source / "(folder)", columns, list(range(1, len(paths) + 1))), tuple(notes)


def _file_crops(
    rows: CropTable, folder: Path, panel: Panel, assumed_pixel_size_um: float | None, notes: tuple[str, ...]
) -> LabelledCrops:
    columns: dict[str, Any] = rows.columns
    source = FileSource(folder, columns["path"], panel, columns["pixel_size_um"], assumed_pixel_size_um)
    count = len(columns["path"])
    return LabelledCrops(
        panel=panel,
        schema=rows.schema,
        targets=rows.targets,
        **columns,
        source=source,
        source_rows=np.arange(count),
        notes=notes,
        simulated=True if (folder / SIMULATION_FILE).is_file() else None,
    )


def _missing_files(crops: LabelledCrops) -> list[Finding]:
    findings = []
    assert isinstance(crops.source, FileSource)
    for row in range(len(crops)):
        for file in files_of_crop(crops.source.file(row), crops.panel):
            try:
                if os.stat(file).st_size > 0:
                    continue
            except OSError:
                pass
            try:
                read_bytes(file)
            except CtcnetError as error:
                findings.append(Finding("unreadable_image", error))
    return findings


def _store_crops(folder: Path, panel: Panel | None, schema: LabelSchema | None, labelled: bool | None) -> LabelledCrops:
    header = read_header(folder)
    pixels = map_pixels(folder, header)
    index = read_index(folder, header)
    wanted = panel or header.panel
    channels = store_channels(header, wanted, folder)
    order = channels if channels is not None else list(range(len(wanted.channels)))
    try:
        text: dict[str, Any] = {
            name: np.array(index.column(name).to_pylist(), dtype=object)
            for name in ("path", "group", "cartridge", "batch", "split")
        }
        background, scale = (_matrix(index, name, len(order))[:, order] for name in ("background", "scale"))
        weight = index.column("weight").to_numpy().astype(np.float32)
        digests = np.array(index.column("file_sha256").to_pylist(), dtype=object)
        has_targets = "targets" in index.column_names and header.schema is not None and labelled is not False
        targets = _matrix(index, "targets", len(header.schema.classes)) if has_targets and header.schema else None
    except (KeyError, ValueError, pa.ArrowException) as cause:
        raise ManifestError(f"has an index with wrong columns ({cause})", where=folder, fix="pack again") from cause
    if labelled and (targets is None or (text["group"] == "").any()):
        what = "labels" if targets is None else "groups"
        raise ManifestError(f"was packed without {what}", where=folder, fix="pack it from a manifest that has them")
    if schema is not None and targets is not None and header.schema is not None:
        targets = _targets_in_schema(targets, header.schema, schema, folder)
    return LabelledCrops(
        panel=wanted,
        schema=schema or header.schema,
        targets=targets,
        **text,
        weight=weight,
        pixel_size_um=np.full(header.count, header.pixel_size_um),
        background=background,
        scale=scale,
        source=StoreSource(folder, header, channels, digests, pixels),
        source_rows=np.arange(header.count),
        simulated=header.simulated,
    )


def _matrix(index: pa.Table, name: str, width: int) -> np.ndarray:
    column = index.column(name).combine_chunks()
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return flat.reshape(index.num_rows, width).copy()


def _targets_in_schema(targets: np.ndarray, own: LabelSchema, wanted: LabelSchema, folder: Path) -> np.ndarray:
    if own.classes == wanted.classes:
        return targets
    moved = np.zeros((len(targets), len(wanted.classes)), dtype=np.float32)
    for place, label in enumerate(own.classes):
        if targets[:, place].any():
            moved[:, wanted.index(label, where=folder)] = targets[:, place]
    return moved
