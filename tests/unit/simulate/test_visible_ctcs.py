"""A CTC no larger than a leukocyte shows a stain: without, every leukocyte faint in CD45 would look like one."""

from __future__ import annotations

import pytest
import torch

from ctcnet.panel import load_panel
from ctcnet.simulate.cells import CTC, UNIT_ELECTRONS
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.diverse_bodies import LARGEST_LEUKOCYTE_UM, LEAST_STAIN
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.scene_variation import SceneVariation

pytestmark = pytest.mark.unit
COUNT, GROUPS = 6000, 60


def _ctcs(panel_name: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Diameters of CTCs in um, and their stains in units of the leukocytes' level."""
    panel = load_panel(panel_name)
    effects = Effects(cytoplasm=True)
    simulator = CropSimulator(panel, num_groups=GROUPS, effects=effects)
    index = torch.arange(COUNT) % GROUPS
    groups, levels = simulator.groups.rows(index), simulator.levels.rows(index)
    draws = Draws.from_seed(0, torch.device("cpu"))
    kind = torch.full((COUNT,), CTC)
    bodies = SceneVariation(effects, levels, draws).make_bodies(kind, torch.arange(COUNT), groups, panel.roles, draws)
    stains = {}
    for role in ("epithelial", "mesenchymal"):
        if role in panel.roles:
            channel = panel.roles.index(role)
            unit = UNIT_ELECTRONS[role] * groups.stain[:, channel]
            stains[role] = bodies.amplitude[:, channel, 1:].sum(1) / unit
    return 2 * bodies.radius, stains


@pytest.mark.parametrize("panel", ["bzscanner", "hdsca4"])
def test_small_ctcs_show_a_stain_and_large_ones_may_lack_it(panel: str) -> None:
    diameter_um, stains = _ctcs(panel)
    small = diameter_um <= LARGEST_LEUKOCYTE_UM
    brightest = torch.stack(list(stains.values())).amax(0)
    assert 0.2 < small.float().mean() < 0.7
    assert brightest[small].min() >= LEAST_STAIN[0] * 0.999
    assert (stains["epithelial"][~small] < LEAST_STAIN[0]).float().mean() > 0.05


def test_a_mesenchymal_stain_spares_the_small_their_ck() -> None:
    diameter_um, stains = _ctcs("hdsca4")
    small = diameter_um <= LARGEST_LEUKOCYTE_UM
    dim = small & (stains["epithelial"] < LEAST_STAIN[0])
    assert dim.sum() > 10
    assert (stains["mesenchymal"][dim] >= LEAST_STAIN[0]).all()
