"""Stains of varied leukocytes are as far apart, and as much alike, as was measured on the slide."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ctcnet.simulate.effects import Effects

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def leukocytes(body_table) -> Callable[[str], dict[str, np.ndarray]]:
    """Diameters and stains of leukocytes of a panel."""
    return lambda panel: body_table(
        panel, Effects(leukocyte_variety=True), lambda groups, draws: draws.choose(groups.leukocyte_shares)
    )


@pytest.fixture(scope="module")
def stains(leukocytes) -> dict[str, np.ndarray]:
    return leukocytes("cellsearch4")


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


def test_cells_positive_for_both_are_larger_in_display_pictures_alone(stains, leukocytes) -> None:
    pictures = leukocytes("rgb_merge")
    for found, least, most in ((stains, 0.95, 1.05), (pictures, 1.2, 1.5)):
        both = (found["epithelial"] > 10) & (found["leukocyte"] > 0.5)
        assert both.sum() > 50
        larger = np.median(found["diameter_um"][both]) / np.median(found["diameter_um"][found["epithelial"] < 2])
        assert least < larger < most


def test_ck_of_cells_positive_for_both_is_nearer_to_cd45_in_display_pictures(stains, leukocytes) -> None:
    shares = [
        np.mean(found["epithelial"] > 12) / np.mean(found["epithelial"] > 4)
        for found in (stains, leukocytes("rgb_merge"))
    ]
    assert shares[1] < 0.6 * shares[0]
