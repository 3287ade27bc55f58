"""Sizes of drawn cells in um, measured with scikit-image, and the form of nuclei and membranes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.measure import label, regionprops

from ctcnet.panel import Panel
from ctcnet.simulate import cells, shapes
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import draw_groups
from ctcnet.simulate.objects import Bodies
from ctcnet.simulate.stamping import Canvas

pytestmark = pytest.mark.unit
PIXEL_UM = 0.2
ROLES = ("nucleus", "leukocyte", "epithelial")


def _bodies(kind: int, count: int, panel: Panel) -> Bodies:
    draws = Draws.from_seed(0, torch.device("cpu"))
    groups = draw_groups(panel, count, 1, draws)
    groups = replace(groups, stain=groups.stain[:, : len(ROLES)])
    kinds = torch.full((count,), kind)
    return cells.make_bodies(kinds, torch.arange(count), groups, ROLES, draws)


def _drawn(bodies: Bodies) -> np.ndarray:
    draws = Draws.from_seed(1, torch.device("cpu"))
    canvas = Canvas(len(bodies.crop), len(ROLES), 150, 0, PIXEL_UM, torch.device("cpu"))
    canvas.add_bodies(bodies, shapes.texture_bank(draws, 4, 256, PIXEL_UM), draws)
    return canvas.values.numpy()


@pytest.mark.parametrize("kind", [cells.LYMPHOCYTE, cells.GRANULOCYTE, cells.MONOCYTE, cells.CTC])
def test_drawn_area_is_that_of_the_stated_radius(kind: int, five_colour: Panel) -> None:
    bodies = _bodies(kind, 12, five_colour)
    image = _drawn(bodies)[:, 1]
    for picture, radius_um in zip(image, bodies.radius.tolist(), strict=True):
        region = max(regionprops(label(picture > 0.15 * picture.max())), key=lambda r: r.area)
        assert region.equivalent_diameter_area * PIXEL_UM == pytest.approx(2 * radius_um, rel=0.04)


@pytest.mark.parametrize(("kind", "low", "high"), [(0, 7.0, 8.2), (1, 8.5, 10.0), (2, 9.0, 12.0)])
def test_leukocytes_have_the_diameters_of_the_field_notes(
    kind: int, low: float, high: float, five_colour: Panel
) -> None:
    assert low <= 2 * float(_bodies(kind, 400, five_colour).radius.median()) <= high


def test_nucleus_to_cell_area_of_leukocytes(five_colour: Panel) -> None:
    for kind in (cells.LYMPHOCYTE, cells.GRANULOCYTE, cells.MONOCYTE):
        image = _drawn(_bodies(kind, 20, five_colour))
        nucleus = (image[:, 0] > 0.25 * image[:, 0].max((1, 2), keepdims=True)).sum((1, 2))
        ratio = float(np.median(nucleus / (image[:, 1] > 0).sum((1, 2))))
        assert 0.35 <= ratio <= 0.86


def test_granulocytes_have_three_to_five_lobes_and_others_one(five_colour: Panel) -> None:
    lobes = (_bodies(cells.GRANULOCYTE, 200, five_colour).lobes[:, :, 2] > 0).sum(1)
    assert (int(lobes.min()), int(lobes.max())) == (3, 5)
    assert int((_bodies(cells.LYMPHOCYTE, 50, five_colour).lobes[:, :, 2] > 0).sum(1).max()) == 1


def test_monocyte_nuclei_are_less_convex_than_those_of_lymphocytes(five_colour: Panel) -> None:
    solidity = {}
    for kind in (cells.LYMPHOCYTE, cells.MONOCYTE):
        image = _drawn(_bodies(kind, 20, five_colour))[:, 0]
        masks = [label(p > 0.3 * p.max()) for p in image]
        solidity[kind] = np.median([max(regionprops(m), key=lambda r: r.area).solidity for m in masks])
    assert solidity[cells.LYMPHOCYTE] > 0.95 > 0.93 > solidity[cells.MONOCYTE]


def test_membrane_shell_is_a_ring_with_a_lit_middle() -> None:
    radius = torch.linspace(0, 1.2, 121)[None, None]
    profile = shapes.shell_thickness(radius.square(), torch.tensor([0.8]))[0, 0]
    assert float(radius[0, 0, profile.argmax()]) == pytest.approx(0.8, abs=0.011)
    assert float(profile.max()) == pytest.approx(1.0, abs=0.02)
    assert float(profile[0]) == pytest.approx(1 / 3, abs=0.01)
    assert float(profile[101:].abs().max()) == 0.0


def test_texture_is_standard_and_smooth() -> None:
    bank = shapes.texture_bank(Draws.from_seed(0, torch.device("cpu")), 16, 64, 0.2)
    assert float(bank.std()) == pytest.approx(1.0, abs=0.01)
    neighbour = float((bank[:, :, 1:] * bank[:, :, :-1]).mean())
    assert neighbour > 0.85
