from dataclasses import replace

import numpy as np
import pytest
import torch

from ctcnet.panel import load_panel
from ctcnet.simulate import floaters
from ctcnet.simulate.cells import UNIT_ELECTRONS
from ctcnet.simulate.composition import CLASSES, IS_DEBRIS, SHARP_DEFOCUS_UM, compose
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import draw_groups
from ctcnet.simulate.stamping import Canvas

pytestmark = pytest.mark.unit

PANEL = load_panel("bzscanner")
CPU = torch.device("cpu")
FIELD_UM = 46.0


def _scene(count: int, label: int, seed: int = 0):
    draws = Draws.from_seed(seed, CPU)
    groups = draw_groups(PANEL, 6, 2, draws).rows(torch.arange(count) % 6)
    return compose(torch.full((count,), label), groups, PANEL.roles, FIELD_UM, draws), groups, draws


def test_half_of_the_events_out_of_focus_float_alone_and_all_else_stays():
    count = 1500
    scene, groups, draws = _scene(count, IS_DEBRIS)
    smeared = scene.defocus_um > SHARP_DEFOCUS_UM
    changed = floaters.float_events(scene, groups, PANEL.roles, SHARP_DEFOCUS_UM, draws)
    rows = changed.floaters.crop
    assert smeared[rows].all()
    assert 0.4 < len(rows) / smeared.sum() < 0.6
    assert (changed.defocus_um[rows].abs() <= SHARP_DEFOCUS_UM).all()
    assert not changed.bodies.present[rows].any()
    np.testing.assert_array_equal(changed.floaters.centre, scene.bodies.centre[rows])
    others = torch.ones(count, dtype=torch.bool).index_fill(0, rows, False)
    np.testing.assert_array_equal(changed.defocus_um[others], scene.defocus_um[others])
    kept = torch.cat([others, torch.ones(len(scene.bodies.crop) - count, dtype=torch.bool)])
    np.testing.assert_array_equal(changed.bodies.present[kept], scene.bodies.present[kept])


@pytest.mark.parametrize("label", range(len(CLASSES) - 1))
def test_no_event_but_debris_floats(label: int):
    scene, groups, draws = _scene(300, label)
    changed = floaters.float_events(scene, groups, PANEL.roles, SHARP_DEFOCUS_UM, draws)
    assert len(changed.floaters.crop) == 0
    np.testing.assert_array_equal(changed.bodies.present, scene.bodies.present)


def test_floaters_lie_around_any_event_at_their_density():
    count, per_mm2 = 4000, 50.0
    scene, groups, draws = _scene(count, 0)
    density = torch.where(torch.arange(count) < count // 2, per_mm2, 0.0)
    around = floaters.float_around(scene, density, groups, PANEL.roles, FIELD_UM, draws).floaters
    expected = per_mm2 * FIELD_UM**2 * 1e-6 * count / 2
    assert abs(len(around.crop) - expected) < 4 * expected**0.5
    assert (around.crop < count // 2).all()
    assert (around.centre.abs() <= FIELD_UM / 2).all()


def test_a_floater_is_drawn_with_the_width_that_it_was_given():
    scene, groups, draws = _scene(400, IS_DEBRIS)
    blobs = floaters.float_events(scene, groups, PANEL.roles, SHARP_DEFOCUS_UM, draws).floaters
    blob = replace(blobs.rows(torch.tensor([0])), crop=torch.tensor([0]), centre=torch.zeros(1, 2))
    canvas = Canvas(1, len(PANEL.channels), 128, 8, 0.6, CPU)
    canvas.add_dots(blob, floaters.SIGMA_UM[1])
    light = canvas.values[0, PANEL.roles.index("nucleus")].double()
    x_um = (torch.arange(canvas.side_px) - (canvas.side_px - 1) / 2) * 0.6
    measured = ((light.sum(0) * x_um**2).sum() / light.sum()).sqrt()
    assert abs(float(measured / blob.sigma[0]) - 1) < 0.05
    nucleus = UNIT_ELECTRONS["nucleus"] * groups.stain[blobs.crop[0], PANEL.roles.index("nucleus")]
    low, high = floaters.PEAK
    assert 0.95 * low < float(light.max() / nucleus) < 1.05 * high
