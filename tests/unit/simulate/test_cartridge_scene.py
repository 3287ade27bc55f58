"""What lies in a simulated cartridge: as many events as asked, with labels that the geometry bears out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ctcnet.panel import Panel, load_panel
from ctcnet.simulate.cells import CTC, GRANULOCYTE, MONOCYTE
from ctcnet.simulate.composition import (
    DEBRIS_FORMS,
    IS_CTC,
    IS_DEBRIS,
    IS_LEUKOCYTE,
    IS_NEUTROPHIL_CLUSTER,
    IS_PLATELET_CLUSTER,
    NEIGHBOUR_GAP_UM,
)
from ctcnet.simulate.dots import ADHERENT_LEAST
from ctcnet.simulate.field_events import EventNumbers
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.field_scene import FieldScene, compose_field, draw_patient, rendered_roles, stream_seed

pytestmark = pytest.mark.unit

GRID = FieldGrid(2, 2, 700, 700, 0.64)
NUMBERS = EventNumbers(ctc=20, leukocytes=600, clusters_neutrophil=12, clusters_platelet=9, debris=40)


def _scene(panel: Panel, seed: int = 1, numbers: EventNumbers = NUMBERS, rim_um: float = 0.0) -> FieldScene:
    return compose_field(panel, GRID, numbers, seed=seed, group=draw_patient(panel, seed, 1.0), rim_um=rim_um)


@pytest.fixture(scope="module")
def scene() -> FieldScene:
    return _scene(load_panel("ctc5"))


def test_as_many_events_as_asked(scene: FieldScene) -> None:
    found = torch.bincount(scene.events.label, minlength=5)
    assert found[[IS_CTC, IS_LEUKOCYTE, IS_NEUTROPHIL_CLUSTER, IS_PLATELET_CLUSTER, IS_DEBRIS]].tolist() == [
        *(20, 600, 12, 9, 40)
    ]


def test_no_event_at_all_is_a_scene_too(five_colour: Panel) -> None:
    scene = _scene(five_colour, numbers=EventNumbers(0, 0, 0, 0, 0))
    assert len(scene.bodies.crop) == 0
    assert len(scene.centre_um) == 0


def test_members_of_a_cluster_touch(scene: FieldScene) -> None:
    bodies, label = scene.bodies, scene.events.label
    for event in torch.nonzero(label == IS_NEUTROPHIL_CLUSTER)[:, 0].tolist():
        rows = torch.nonzero(bodies.crop == event)[:, 0]
        assert int((bodies.kind[rows] == CTC).sum()) == 1
        assert int((bodies.kind[rows] == GRANULOCYTE).sum()) == len(rows) - 1 >= 1
        first, others = rows[0], rows[1:]
        distance = (bodies.centre[others] - bodies.centre[first]).norm(dim=1)
        overlap = bodies.radius[others] + bodies.radius[first] - distance
        assert bool(((overlap > 0.15) & (overlap < 2.55)).all())


def test_one_ctc_event_in_ten_is_a_doublet(scene: FieldScene) -> None:
    of_ctc = scene.events.label[scene.bodies.crop] == IS_CTC
    cells = torch.bincount(scene.bodies.crop[of_ctc], minlength=20)[:20]
    assert sorted(cells.tolist()) == [1] * 18 + [2] * 2
    assert bool((scene.bodies.kind[of_ctc] == CTC).all())


def test_ctcs_keep_clear_of_cells_that_are_not_theirs(scene: FieldScene) -> None:
    bodies = scene.bodies
    tumour = torch.nonzero(scene.events.label[bodies.crop] <= IS_PLATELET_CLUSTER)[:, 0]
    tumour = tumour[scene.events.label[bodies.crop[tumour]] != IS_LEUKOCYTE]
    gap = torch.cdist(bodies.centre[tumour], bodies.centre) - bodies.radius[tumour, None] - bodies.radius
    own = bodies.crop[tumour, None] == bodies.crop
    assert float(gap[~own].min()) > NEIGHBOUR_GAP_UM - 1e-3


def test_leukocytes_hardly_overlap_but_touch(scene: FieldScene) -> None:
    leukocyte = torch.nonzero(scene.events.label[scene.bodies.crop] == IS_LEUKOCYTE)[:, 0]
    cells = scene.bodies.rows(leukocyte)
    gap = torch.cdist(cells.centre, cells.centre) - cells.radius[:, None] - cells.radius
    gap.fill_diagonal_(100.0)
    assert float(gap.min()) > -0.81
    assert int((gap < 1.0).any(dim=1).sum()) > 5
    assert bool((cells.kind <= MONOCYTE).all())


def test_platelets_make_the_cluster(scene: FieldScene) -> None:
    label = scene.events.label
    carried = torch.bincount(scene.dots.crop, minlength=len(label))
    assert bool((carried[label == IS_PLATELET_CLUSTER] >= ADHERENT_LEAST).all())
    assert bool((carried[label == IS_CTC] < ADHERENT_LEAST).all())
    assert 0 < int((carried[label == IS_LEUKOCYTE] > 0).sum()) < 90


def test_every_event_lies_within_the_scanned_area(scene: FieldScene) -> None:
    size_um = torch.tensor([GRID.width_px, GRID.height_px]) * GRID.pixel_size_um
    rare = scene.bodies.rows(scene.events.label[scene.bodies.crop] != IS_LEUKOCYTE)
    assert bool((rare.centre - rare.radius[:, None] > -0.5).all())
    assert bool((rare.centre + rare.radius[:, None] < size_um + 0.5).all())


def test_no_cell_lies_in_the_rim(five_colour: Panel) -> None:
    scene = _scene(five_colour, rim_um=60.0)
    size_um = torch.tensor([GRID.width_px, GRID.height_px]) * GRID.pixel_size_um
    low = scene.bodies.centre - scene.bodies.radius[:, None]
    high = size_um - scene.bodies.centre - scene.bodies.radius[:, None]
    assert float(torch.minimum(low, high).min()) > 59.0


def test_same_seed_same_scene(five_colour: Panel) -> None:
    first, second, other = _scene(five_colour, 4), _scene(five_colour, 4), _scene(five_colour, 5)
    assert np.array_equal(first.centre_um, second.centre_um)
    assert torch.equal(first.bodies.amplitude, second.bodies.amplitude)
    assert not np.array_equal(first.centre_um, other.centre_um)


def test_no_platelet_clumps_where_no_channel_shows_them() -> None:
    numbers = replace(NUMBERS, debris=300)
    without = set(_scene(load_panel("cellsearch4"), numbers=numbers).events.kind)
    assert "platelet_clump" not in without
    assert set(DEBRIS_FORMS) - {"platelet_clump"} <= without
    assert "platelet_clump" in set(_scene(load_panel("ctc5"), numbers=numbers).events.kind)


def test_channels_without_a_role_still_show_something() -> None:
    assert rendered_roles(load_panel("bzscanner")) == ("nucleus", "epithelial", "leukocyte", "transmitted", "t_cell")


def test_streams_of_one_seed_differ() -> None:
    seeds = {stream_seed(seed, *key) for seed in range(4) for key in ((0,), (1,), (3, 0, 1), (3, 1, 0), (3, 0, 1, 0))}
    assert len(seeds) == 20
    assert max(seeds) < 2**63
