"""Truth of a simulated cartridge: rows and links, and figures that brute force gives too."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from ctcnet.panel import load_panel
from ctcnet.simulate import shapes
from ctcnet.simulate.cartridge_truth import DENSITY_RADIUS_UM, SCHEMA, nucleus_centroids, truth_table
from ctcnet.simulate.cells import APOPTOTIC, CTC, FRAGMENT, GRANULOCYTE, LYMPHOCYTE, MONOCYTE, make_bodies
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.field_events import EventNumbers
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.field_scene import compose_field, draw_patient
from ctcnet.simulate.objects import MAX_LOBES

pytestmark = pytest.mark.unit

GRID = FieldGrid(2, 3, 400, 400, 0.64, serpentine=True)
NUMBERS = EventNumbers(ctc=20, leukocytes=300, clusters_neutrophil=8, clusters_platelet=6, debris=30)


def _truth(panel: str = "ctc5") -> pa.Table:
    shown = load_panel(panel)
    return truth_table(compose_field(shown, GRID, NUMBERS, seed=2, group=draw_patient(shown, 2, 1.0)), GRID)


@pytest.fixture(scope="module")
def truth() -> list[dict]:
    return _truth().to_pylist()


def test_columns() -> None:
    assert _truth().schema.equals(SCHEMA)


def test_one_event_row_for_each_event_asked_for(truth: list[dict]) -> None:
    events = [row for row in truth if row["role"] == "event"]
    found = {name: sum(row["class"] == name for row in events) for name in {row["class"] for row in events}}
    assert found == {
        "ctc": 20,
        "leukocyte": 300,
        "ctc_neutrophil_cluster": 8,
        "ctc_platelet_cluster": 6,
        "debris": 30,
    }
    assert [row["event_id"] for row in truth] == list(range(len(truth)))


def test_clusters_and_members_are_linked(truth: list[dict]) -> None:
    clusters = {row["cluster_id"]: row for row in truth if row["role"] == "event" and row["cluster_id"] is not None}
    assert len(clusters) == 8 + 6 + 2
    for number, event in clusters.items():
        members = [row for row in truth if row["role"] == "member" and row["cluster_id"] == number]
        assert event["members"] == len(members)
        assert event["x_um"] == pytest.approx(np.mean([row["x_um"] for row in members]), abs=1e-3)
        assert event["y_um"] == pytest.approx(np.mean([row["y_um"] for row in members]), abs=1e-3)
        assert event["ck_level"] == max(row["ck_level"] for row in members)
        assert event["diameter_um"] ** 2 == pytest.approx(sum(row["diameter_um"] ** 2 for row in members), rel=1e-4)
        assert {row["members"] for row in members} == {1}
        assert any(row["class"] == "ctc" for row in members)
    for row in truth:
        if row["class"] in ("ctc_neutrophil_cluster", "ctc_platelet_cluster"):
            assert row["kind"] == row["class"]
            assert row["cluster_id"] is not None


def test_kinds_of_debris_without_a_nucleus_have_no_member(truth: list[dict]) -> None:
    without = {row["kind"] for row in truth if row["members"] == 0}
    assert without <= {"fragment", "aggregate", "fibre", "platelet_clump"}
    assert "fragment" in without


def test_rows_are_in_the_order_of_frames(truth: list[dict]) -> None:
    numbers = [row["frame"] for row in truth]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 7))


def test_border_cells_are_told(truth: list[dict]) -> None:
    for row in truth:
        reach_px = row["diameter_um"] / 2 / GRID.pixel_size_um
        inside = all(reach_px - 0.5 <= row[axis] <= 399.5 - reach_px for axis in ("x_px", "y_px"))
        assert row["touches_border"] == (not inside)
    assert 0 < sum(row["touches_border"] for row in truth) < len(truth) / 5


def test_local_density_is_that_of_other_nucleated_cells(truth: list[dict]) -> None:
    cells = [row for row in truth if row["members"] and (row["role"] == "member" or row["cluster_id"] is None)]
    size_um = np.array([GRID.width_px, GRID.height_px]) * GRID.pixel_size_um
    rng = np.random.default_rng(0)
    dart = rng.uniform(-DENSITY_RADIUS_UM, DENSITY_RADIUS_UM, (40_000, 2))
    dart = dart[np.hypot(*dart.T) <= DENSITY_RADIUS_UM]
    for row in truth[::9]:
        place = np.array([row["x_um"], row["y_um"]])
        near = [c for c in cells if math.dist((c["x_um"], c["y_um"]), place) <= DENSITY_RADIUS_UM]
        own = [
            c
            for c in near
            if c is row
            or (row["role"] == "event" and row["cluster_id"] is not None and c["cluster_id"] == row["cluster_id"])
        ]
        scanned = ((place + dart >= 0) & (place + dart <= size_um)).all(axis=1).mean()
        expected = (len(near) - len(own)) / (math.pi * DENSITY_RADIUS_UM**2 * 1e-6 * scanned)
        assert row["local_density_per_mm2"] == pytest.approx(expected, rel=0.05, abs=1e-6)


def test_stain_is_in_units_of_leukocytes(truth: list[dict]) -> None:
    leukocytes = [row["ck_level"] for row in truth if row["class"] == "leukocyte" and row["role"] == "event"]
    assert np.median(leukocytes) == pytest.approx(1.0, abs=0.2)
    ctcs = [row["ck_level"] for row in truth if row["class"] == "ctc"]
    assert np.median(ctcs) > 2


def test_no_stain_is_told_without_its_channel() -> None:
    assert set(_truth("sarcoma")["ck_level"].to_pylist()) == {None}


@pytest.mark.parametrize("kind", [LYMPHOCYTE, GRANULOCYTE, MONOCYTE, CTC, APOPTOTIC])
def test_centroid_of_a_nucleus_is_that_of_its_image(kind: int) -> None:
    draws = Draws.from_seed(kind, torch.device("cpu"))
    panel = load_panel("ctc5")
    group = draw_patient(panel, 0, 1.0)
    kinds = torch.full((40,), kind)
    bodies = make_bodies(kinds, torch.arange(40), group.rows(torch.zeros_like(kinds)), panel.roles, draws)
    found, nucleated = nucleus_centroids(bodies)
    line = torch.arange(-14.0, 14.0, 0.1)
    for row in range(0, 40, 4):
        one = bodies.rows(torch.tensor([row]))
        image = shapes.nucleus_thickness(line[None, None, :], line[None, :, None], one, MAX_LOBES)[0].double()
        expected = [
            float((image * line[None, :]).sum() / image.sum()),
            float((image * line[:, None]).sum() / image.sum()),
        ]
        assert found[row] == pytest.approx(expected, abs=0.08)
    assert nucleated.all()


def test_a_body_without_a_nucleus_lies_at_its_centre() -> None:
    draws = Draws.from_seed(1, torch.device("cpu"))
    panel = load_panel("ctc5")
    kinds = torch.full((5,), FRAGMENT)
    group = draw_patient(panel, 0, 1.0).rows(torch.zeros_like(kinds))
    found, nucleated = nucleus_centroids(make_bodies(kinds, torch.arange(5), group, panel.roles, draws))
    assert not nucleated.any()
    assert np.array_equal(found, np.zeros((5, 2)))
