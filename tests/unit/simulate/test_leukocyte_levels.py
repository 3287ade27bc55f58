"""Stains of varied leukocytes are as far apart, and as much alike, as was measured on the slide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctcnet.panel import load_panel
from ctcnet.simulate.cells import UNIT_ELECTRONS
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.scene_variation import SceneVariation

pytestmark = pytest.mark.unit
COUNT, GROUPS = 6000, 60


@pytest.fixture(scope="module")
def stains() -> dict[str, np.ndarray]:
    return _leukocytes("cellsearch4")


def _leukocytes(panel_name: str) -> dict[str, np.ndarray]:
    """CK and CD45 of leukocytes of many cartridges in units of the leukocytes' level, before optics and specks; and
    their diameters in um.
    """
    panel = load_panel(panel_name)
    effects = Effects(leukocyte_variety=True)
    simulator = CropSimulator(panel, num_groups=GROUPS, effects=effects)
    index = torch.arange(COUNT) % GROUPS
    groups, levels = simulator.groups.rows(index), simulator.levels.rows(index)
    draws = Draws.from_seed(0, torch.device("cpu"))
    kind = draws.choose(groups.leukocyte_shares)
    bodies = SceneVariation(effects, levels, draws).make_bodies(kind, torch.arange(COUNT), groups, panel.roles, draws)
    found = {"diameter_um": (2 * bodies.radius).numpy()}
    for role in ("epithelial", "leukocyte"):
        channel = panel.roles.index(role)
        electrons = UNIT_ELECTRONS[role] * groups.stain[:, channel]
        found[role] = (bodies.amplitude[:, channel, 1:].sum(1) / electrons).numpy()
    return found


def test_cd45_and_ck_go_together(stains: dict[str, np.ndarray]) -> None:
    ck, cd45 = stains["epithelial"], stains["leukocyte"]
    usual = (ck < 2 * np.median(ck)) & (cd45 > np.median(cd45) / 6)
    logs = np.log(np.stack((ck, cd45))[:, usual])
    assert 0.4 < np.corrcoef(logs)[0, 1] < 0.75  # slide: 0.5, with noise
    assert 0.35 < logs[0].std() < 0.5  # slide: 0.43
    assert 0.3 < cd45[usual].std() / cd45[usual].mean() < 0.5  # slide: 0.36


def test_cells_faint_in_cd45_are_few_and_not_ck_positive(stains: dict[str, np.ndarray]) -> None:
    ck, cd45 = stains["epithelial"], stains["leukocyte"]
    faint, positive = cd45 < np.median(cd45) / 6, ck > 2.5 * np.median(ck)
    assert 0.01 < faint.mean() < 0.07  # slide: 0.027 below a sixth
    assert 0.03 < positive.mean() < 0.15  # slide: 0.04 at twice or more
    assert (faint & positive).mean() < 0.002


def test_cells_positive_for_both_are_larger_in_display_pictures_alone(stains: dict[str, np.ndarray]) -> None:
    pictures = _leukocytes("rgb_merge")
    for found, least, most in ((stains, 0.95, 1.05), (pictures, 1.2, 1.5)):
        both = (found["epithelial"] > 10) & (found["leukocyte"] > 0.5)
        assert both.sum() > 50
        larger = np.median(found["diameter_um"][both]) / np.median(found["diameter_um"][found["epithelial"] < 2])
        assert least < larger < most


def test_ck_of_cells_positive_for_both_is_nearer_to_cd45_in_display_pictures(stains: dict[str, np.ndarray]) -> None:
    shares = [
        np.mean(found["epithelial"] > 12) / np.mean(found["epithelial"] > 4)
        for found in (stains, _leukocytes("rgb_merge"))
    ]
    assert shares[1] < 0.6 * shares[0]
