"""Scenes: contact, gaps, platelets and composition obey the stated rules."""

from __future__ import annotations

import pytest
import torch

from ctcnet.panel import Panel
from ctcnet.simulate import composition, dots
from ctcnet.simulate.cells import CTC, GRANULOCYTE, MONOCYTE
from ctcnet.simulate.composition import CLASSES, Scene, compose
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import draw_groups

pytestmark = pytest.mark.unit
COUNT = 200
PLATELET_CHANNEL = 4


@pytest.fixture(scope="module")
def scenes(five_colour: Panel) -> dict[str, Scene]:
    draws = Draws.from_seed(0, torch.device("cpu"))
    groups = draw_groups(five_colour, COUNT, 3, draws)
    labels = {name: torch.full((COUNT,), row) for row, name in enumerate(CLASSES)}
    return {name: compose(rows, groups, five_colour.roles, 46.0, draws) for name, rows in labels.items()}


def _gaps(scene: Scene, first: int, second: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gap in um between the circles of two slots, and where both are present."""
    a, b = (scene.bodies.rows(torch.arange(s * COUNT, (s + 1) * COUNT)) for s in (first, second))
    return (a.centre - b.centre).norm(dim=1) - a.radius - b.radius, a.present & b.present


def test_neutrophil_clusters_touch_a_neutrophil(scenes: dict[str, Scene]) -> None:
    scene = scenes["ctc_neutrophil_cluster"]
    gap, both = _gaps(scene, 0, 1)
    assert both.all()
    assert (scene.bodies.kind[:COUNT] == CTC).all()
    assert (scene.bodies.kind[COUNT : 2 * COUNT] == GRANULOCYTE).all()
    assert -2.501 <= float(gap.min()) <= float(gap.max()) <= -0.199
    assert (scene.partners >= 1).all()


@pytest.mark.parametrize("name", CLASSES)
def test_neighbours_keep_their_distance_from_the_event(name: str, scenes: dict[str, Scene]) -> None:
    checked = 0
    for event in range(3):
        for neighbour in range(3, 3 + composition.NEIGHBOURS_MOST):
            gap, both = _gaps(scenes[name], event, neighbour)
            checked += int(both.sum())
            assert float(gap[both].min() if both.any() else torch.tensor(9.0)) >= composition.NEIGHBOUR_GAP_UM - 1e-4
    assert checked > 50


def test_only_ctcs_with_mononuclear_partners_or_none_are_called_ctc(scenes: dict[str, Scene]) -> None:
    bodies = scenes["ctc"].bodies
    second = bodies.rows(torch.arange(COUNT, 2 * COUNT))
    assert not (second.present & (second.kind == GRANULOCYTE)).any()
    assert (second.present & (second.kind <= MONOCYTE)).any()
    assert set(scenes["ctc"].tumour_cells.tolist()) == {1, 2}


def test_leukocytes_and_debris_hold_no_tumour_cell(scenes: dict[str, Scene]) -> None:
    assert int(scenes["leukocyte"].tumour_cells.sum()) == 0
    assert int(scenes["debris"].tumour_cells.sum()) == 0


def _platelets_on_first_ctc(scene: Scene) -> torch.Tensor:
    platelet = scene.dots.rows((scene.dots.sigma > dots.SPECK_SIGMA_UM).nonzero()[:, 0])
    ctc = scene.bodies.rows(platelet.crop)
    distance = (platelet.centre - ctc.centre).norm(dim=1) - ctc.radius
    return torch.bincount(platelet.crop[distance.abs() <= 1.0001], minlength=COUNT)


def test_platelet_clusters_carry_three_or_more_and_single_ctcs_fewer(scenes: dict[str, Scene]) -> None:
    assert int(_platelets_on_first_ctc(scenes["ctc_platelet_cluster"]).min()) >= dots.ADHERENT_LEAST
    assert int(_platelets_on_first_ctc(scenes["ctc"]).max()) < dots.ADHERENT_LEAST


def test_events_are_centred(scenes: dict[str, Scene]) -> None:
    centre = scenes["leukocyte"].bodies.centre[:COUNT]
    alone = scenes["leukocyte"].partners == 0
    assert float(centre[alone].mean(0).abs().max()) < 0.3
    assert float(centre[alone].std()) == pytest.approx(composition.JITTER_UM, rel=0.15)


def test_only_smears_lie_far_out_of_focus(scenes: dict[str, Scene]) -> None:
    assert float(scenes["ctc"].defocus_um.abs().max()) <= composition.SHARP_DEFOCUS_UM
    share = float((scenes["debris"].defocus_um > composition.SHARP_DEFOCUS_UM).float().mean())
    assert 0.04 < share < 0.25
