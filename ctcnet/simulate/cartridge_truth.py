"""What a simulated cartridge truly holds: one row per event, and one per cell of an event of several."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ctcnet.simulate import shapes
from ctcnet.simulate.cells import CTC, HAS_NUCLEUS, KINDS, UNIT_ELECTRONS
from ctcnet.simulate.composition import CLASSES, IS_CTC, IS_DEBRIS, IS_LEUKOCYTE
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.field_scene import FieldScene
from ctcnet.simulate.objects import MAX_LOBES, Bodies

DENSITY_RADIUS_UM = 50.0
"""Local density is that of nucleated cells within this radius."""
CENTROID_REACH, CENTROID_POINTS = 2.1, 25
"""Half side of the grid on which a nucleus's centroid is taken, in nucleus radii, and its points along a side."""
CHUNK = 2048

SCHEMA = pa.schema(
    [
        ("event_id", pa.int64()),
        ("class", pa.string()),
        ("kind", pa.string()),
        ("role", pa.string()),
        ("x_um", pa.float64()),
        ("y_um", pa.float64()),
        ("frame", pa.int32()),
        ("x_px", pa.float32()),
        ("y_px", pa.float32()),
        ("diameter_um", pa.float32()),
        ("cluster_id", pa.int64()),
        ("members", pa.int16()),
        ("ck_level", pa.float32()),
        ("local_density_per_mm2", pa.float32()),
        ("touches_border", pa.bool_()),
    ]
)
"""Columns of truth.parquet, see `truth_table`."""


def truth_table(scene: FieldScene, grid: FieldGrid) -> pa.Table:
    """The truth, in the order of frames, with columns `SCHEMA`.

    role: 'event' for what is to be counted (a single cell, a cluster, a piece of debris), 'member' for each cell of an
    event that has a cluster_id. x_um, y_um: centroid of the nucleus as the nucleus channel shows it, of all its nuclei
    for an event of several cells, of the body where there is no nucleus; (0, 0) is the centre of the cartridge's upper
    left pixel. frame: the one that holds this point (in an overlap, the one whose border is farther). x_px, y_px: in
    that frame. diameter_um: of the circle of equal area. members: nucleated cells. ck_level: epithelial stain in units
    of the leukocytes' typical one (the strongest member's for an event; null without such a channel).
    local_density_per_mm2: of other nucleated cells within `DENSITY_RADIUS_UM`, over the part of that disc that was
    scanned. touches_border: whether the outline reaches across a border of that frame.
    """
    columns = _event_columns(scene)
    cells = _member_columns(scene, columns)
    columns = {name: np.concatenate((columns[name], cells[name])) for name in columns}
    number, x_px, y_px = grid.holding(columns["x_um"], columns["y_um"])
    columns |= {"frame": number, "x_px": x_px, "y_px": y_px}
    columns["touches_border"] = _touches_border(columns, grid)
    columns["local_density_per_mm2"] = _local_density(columns, grid)
    order = np.lexsort((columns["role"] == "member", columns["x_um"], columns["y_um"], number))
    ordered = {name: values[order] for name, values in columns.items()}
    return _table(ordered)


def _event_columns(scene: FieldScene) -> dict[str, np.ndarray]:
    events, bodies = scene.events, scene.bodies
    count = len(events.label)
    nucleus_um, nucleated = nucleus_centroids(bodies)
    row = bodies.crop.numpy()
    members = np.bincount(row, nucleated, count)
    weight = np.where((members > 0)[row], nucleated, 1.0)
    total = np.bincount(row, weight, count)
    place = scene.centre_um.copy()
    held = total > 0
    for axis in (0, 1):
        place[held, axis] = np.bincount(row, weight * nucleus_um[:, axis], count)[held] / total[held]
    area = np.bincount(row, (2 * bodies.radius.double().numpy()) ** 2, count)
    diameter_um = np.where(held, np.sqrt(area), 2 * events.reach_um)
    ck_level = np.full(count, np.nan)
    np.fmax.at(ck_level, row, _ck_level(scene))
    label = events.label.numpy()
    several = (members > 1) | ~np.isin(label, (IS_CTC, IS_LEUKOCYTE, IS_DEBRIS))
    return {
        "class": np.array(CLASSES, dtype=object)[label],
        "kind": events.kind,
        "role": np.full(count, "event", dtype=object),
        "x_um": place[:, 0],
        "y_um": place[:, 1],
        "diameter_um": diameter_um,
        "group": np.where(several, np.arange(count), -1),
        "members": members.astype(np.int64),
        "ck_level": ck_level,
    }


def _member_columns(scene: FieldScene, events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One row per cell of the events that have a group."""
    row = scene.bodies.crop.numpy()
    chosen = np.flatnonzero(events["group"][row] >= 0)
    bodies = scene.bodies.rows(torch.from_numpy(chosen))
    centre_um, nucleated = nucleus_centroids(bodies)
    kind = bodies.kind.numpy()
    return {
        "class": np.where(kind == CTC, "ctc", "leukocyte").astype(object),
        "kind": np.array(KINDS, dtype=object)[kind],
        "role": np.full(len(chosen), "member", dtype=object),
        "x_um": centre_um[:, 0],
        "y_um": centre_um[:, 1],
        "diameter_um": 2 * bodies.radius.double().numpy(),
        "group": events["group"][row[chosen]],
        "members": nucleated.astype(np.int64),
        "ck_level": _ck_level(scene)[chosen],
    }


def nucleus_centroids(bodies: Bodies) -> tuple[np.ndarray, np.ndarray]:
    """Centroid (M, 2) float64 of each body's nucleus, projected, and whether it has one (M,) bool.

    The body's centre where it has none. Chromatin texture is left out.
    """
    offset = bodies.lobes[:, 0, :2].clone()
    uneven = torch.nonzero((bodies.lobes[:, 1, 2] > 0) | (bodies.indent[:, 2] > 0))[:, 0]
    for rows in uneven.split(CHUNK):
        offset[rows] = _thickness_centroid(bodies.rows(rows))
    nucleated = torch.tensor(HAS_NUCLEUS, dtype=torch.bool)[bodies.kind]
    centre = bodies.centre.double() + torch.where(nucleated[:, None], offset, 0.0).double()
    return centre.numpy(), nucleated.numpy()


def _thickness_centroid(bodies: Bodies) -> Tensor:
    """Centroid (M, 2) of the nucleus's thickness from the body's centre, on a grid that scales with the nucleus."""
    present = (bodies.lobes[:, :, 2:] > 0).float()
    middle = (bodies.lobes[:, :, :2] * present).sum(1) / present.sum(1).clamp_min(1)
    line = torch.linspace(-CENTROID_REACH, CENTROID_REACH, CENTROID_POINTS) * bodies.nucleus_radius[:, None]
    x, y = (middle[:, :1] + line)[:, None, :], (middle[:, 1:] + line)[:, :, None]
    thickness = shapes.nucleus_thickness(x, y, bodies, MAX_LOBES)
    total = thickness.sum((1, 2)).clamp_min(1e-6)
    return torch.stack(((thickness * x).sum((1, 2)), (thickness * y).sum((1, 2))), 1) / total[:, None]


def _ck_level(scene: FieldScene) -> np.ndarray:
    """Epithelial stain (M,) of each body in units of `UNIT_ELECTRONS`; NaN where the panel has no such channel."""
    if "epithelial" not in scene.roles:
        return np.full(len(scene.bodies.crop), np.nan)
    channel = scene.roles.index("epithelial")
    unit = UNIT_ELECTRONS["epithelial"] * float(scene.group.stain[0, channel])
    return scene.bodies.amplitude[:, channel].sum(1).double().numpy() / unit


def _touches_border(columns: dict[str, np.ndarray], grid: FieldGrid) -> np.ndarray:
    reach_px = columns["diameter_um"] / 2 / grid.pixel_size_um
    touches = np.zeros(len(reach_px), dtype=bool)
    for place, size in ((columns["x_px"], grid.frame_width_px), (columns["y_px"], grid.frame_height_px)):
        touches |= (place - reach_px < -0.5) | (place + reach_px > size - 0.5)
    return touches


def _local_density(columns: dict[str, np.ndarray], grid: FieldGrid) -> np.ndarray:
    """Nucleated cells per mm2 around each row, its own cells left out."""
    place = np.stack((columns["x_um"], columns["y_um"]), 1)
    single = (columns["group"] < 0) & (columns["members"] > 0)
    is_cell = single | ((columns["role"] == "member") & (columns["members"] > 0))
    found = KDTree(place[is_cell]).query_ball_point(place, DENSITY_RADIUS_UM, return_length=True)
    own = np.where(columns["role"] == "event", columns["members"], (columns["members"] > 0).astype(np.int64))
    size_um = np.array([grid.width_px, grid.height_px]) * grid.pixel_size_um
    area_mm2 = math.pi * DENSITY_RADIUS_UM**2 * 1e-6 * _scanned_share(place, size_um)
    return np.maximum(found - own, 0) / area_mm2


def _scanned_share(place_um: np.ndarray, size_um: np.ndarray) -> np.ndarray:
    """Share of the disc around each place that lies in the cartridge, from a fixed set of points in it."""
    points = 256
    step = np.arange(points) + 0.5
    radius, angle = DENSITY_RADIUS_UM * np.sqrt(step / points), step * math.pi * (3 - math.sqrt(5))
    share = np.ones(len(place_um))
    near = np.flatnonzero(((place_um < DENSITY_RADIUS_UM) | (place_um > size_um - DENSITY_RADIUS_UM)).any(axis=1))
    for rows in np.array_split(near, len(near) // CHUNK + 1):
        x = place_um[rows, :1] + radius * np.cos(angle)
        y = place_um[rows, 1:] + radius * np.sin(angle)
        share[rows] = ((x >= 0) & (x <= size_um[0]) & (y >= 0) & (y <= size_um[1])).mean(axis=1)
    return share


def _table(columns: dict[str, np.ndarray]) -> pa.Table:
    group = columns["group"]
    numbers = {value: index for index, value in enumerate(dict.fromkeys(group[group >= 0].tolist()))}
    cluster = [numbers.get(value) for value in group.tolist()]
    ck_level = [None if math.isnan(value) else value for value in columns["ck_level"].tolist()]
    arrays = {
        **{name: columns[name] for name in columns if name != "group"},
        "event_id": np.arange(len(group)),
        "cluster_id": cluster,
        "ck_level": ck_level,
    }
    return pa.table(
        [pa.array(_plain(arrays[field.name]), type=field.type) for field in SCHEMA],
        schema=SCHEMA,
    )


def _plain(values: np.ndarray | list[object]) -> list[object]:
    return values.tolist() if isinstance(values, np.ndarray) else values
