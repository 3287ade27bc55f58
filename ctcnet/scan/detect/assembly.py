"""Putting cells, objects and clusters of each image together in one table."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ctcnet.scan.detect.background import Background
from ctcnet.scan.detect.crowding import is_too_crowded
from ctcnet.scan.detect.detected_events import DetectedEvents
from ctcnet.scan.detect.found import Found
from ctcnet.scan.detect.grouping import group_cells
from ctcnet.scan.detect.working_image import WorkingImage
from ctcnet.scan.event_kinds import CELL, CLUSTER, OBJECT
from ctcnet.scan.platform import DetectionSettings

_Columns = dict[str, np.ndarray]


def assemble_events(
    image: WorkingImage,
    background: Background,
    settings: DetectionSettings,
    nucleus: int,
    valid: Tensor | None,
    shape: tuple[int, ...],
    cells: Found,
    objects: Found,
    specks: Tensor,
) -> list[DetectedEvents]:
    """One table per image: what stands on pixels that are not valid left out, groups found, rows sorted.

    Args:
        image: the working image.
        background: background of all channels.
        settings: for the distance within which cells touch.
        nucleus: index of the nucleus channel.
        valid: (B, H, W) bool or None.
        shape: height and width of the images in pixels.
        cells, objects: events of the batch.
        specks: (B, C) specks per mm2.
    """
    masks = None if valid is None else valid.cpu().numpy()
    levels, noise, density = (values.float().cpu().numpy() for values in (background.level, background.noise, specks))
    known, crowded = (values[:, nucleus].tolist() for values in (background.known, background.crowded))
    tables = [_columns(events, image, shape) for events in (cells, objects)]
    pixel_size_um = image.pixel_um / image.factor
    result = []
    for number in range(len(levels)):
        mask = None if masks is None else masks[number]
        parts = [_rows_of(table, number, mask) for table in tables]
        columns = _with_clusters(parts[0], parts[1], settings.member_distance_um, pixel_size_um)
        area_um2 = (shape[0] * shape[1] if mask is None else int(mask.sum())) * pixel_size_um**2
        height = parts[0]["snr"] * noise[number, nucleus]
        too_crowded = is_too_crowded(
            known[number],
            crowded[number],
            float(levels[number, nucleus]),
            height,
            parts[0]["diameter_um"],
            area_um2,
        )
        result.append(DetectedEvents(**columns, background=levels[number], noise=noise[number],
                                     specks_per_mm2=density[number], too_crowded=too_crowded))  # fmt: skip
    return result


def _columns(events: Found, image: WorkingImage, shape: tuple[int, ...]) -> _Columns:
    return {
        "image": events.image,
        "y_px": (events.y * image.factor + (image.factor - 1) / 2).clip(0, shape[0] - 1),
        "x_px": (events.x * image.factor + (image.factor - 1) / 2).clip(0, shape[1] - 1),
        "diameter_um": events.diameter_um,
        "snr": events.snr,
    }


def _rows_of(table: _Columns, number: int, mask: np.ndarray | None) -> _Columns:
    rows = table["image"] == number
    if mask is not None:
        rows &= mask[table["y_px"].round().astype(int), table["x_px"].round().astype(int)]
    return {name: values[rows] for name, values in table.items() if name != "image"}


def _with_clusters(cells: _Columns, objects: _Columns, gap_um: float, pixel_size_um: float) -> _Columns:
    groups = group_cells(cells["y_px"] * pixel_size_um, cells["x_px"] * pixel_size_um, cells["diameter_um"], gap_um)
    brightest = np.zeros(len(groups.members))
    inside = groups.group >= 0
    np.maximum.at(brightest, groups.group[inside], cells["snr"][inside])
    clusters = {
        "y_px": groups.y_um / pixel_size_um,
        "x_px": groups.x_um / pixel_size_um,
        "diameter_um": groups.diameter_um,
        "snr": brightest,
    }
    numbers = [len(part["y_px"]) for part in (cells, objects, clusters)]
    columns = {name: np.concatenate([part[name] for part in (cells, objects, clusters)]) for name in clusters}
    columns["kind"] = np.repeat([CELL, OBJECT, CLUSTER], numbers)
    columns["members"] = np.concatenate((np.ones(numbers[0] + numbers[1]), groups.members))
    columns["crowded"] = np.concatenate((groups.crowded, np.zeros(sum(numbers[1:]), bool)))
    parent = np.full(sum(numbers), -1)
    parent[: numbers[0]] = np.where(inside, groups.group + numbers[0] + numbers[1], -1)
    return _sorted(columns, parent)


def _sorted(columns: _Columns, parent: np.ndarray) -> _Columns:
    columns = {name: columns[name].astype(dtype) for name, dtype in _TYPES.items()}
    order = np.lexsort((columns["kind"], columns["x_px"], columns["y_px"]))
    new_row = np.empty(len(order), np.int64)
    new_row[order] = np.arange(len(order))
    moved = np.where(parent >= 0, new_row[parent], -1)[order] if len(order) else parent
    return {**{name: values[order] for name, values in columns.items()}, "parent": moved.astype(np.int32)}


_TYPES = {
    "x_px": np.float32,
    "y_px": np.float32,
    "kind": np.uint8,
    "diameter_um": np.float32,
    "snr": np.float32,
    "members": np.int16,
    "crowded": np.bool_,
}
