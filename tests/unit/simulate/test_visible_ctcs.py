"""A CTC no larger than a leukocyte shows a stain: without, every leukocyte faint in CD45 would look like one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ctcnet.simulate.cells import CTC
from ctcnet.simulate.diverse_bodies import LARGEST_LEUKOCYTE_UM, LEAST_STAIN
from ctcnet.simulate.effects import Effects

pytestmark = pytest.mark.unit


@pytest.fixture
def ctcs(body_table) -> Callable[[str], dict[str, np.ndarray]]:
    """Diameters and stains of CTCs of a panel."""
    return lambda panel: body_table(
        panel, Effects(cytoplasm=True), lambda groups, _: torch.full((len(groups.tumour),), CTC)
    )


@pytest.mark.parametrize("panel", ["bzscanner", "hdsca4"])
def test_small_ctcs_show_a_stain_and_large_ones_may_lack_it(ctcs, panel: str) -> None:
    found = ctcs(panel)
    small = found["diameter_um"] <= LARGEST_LEUKOCYTE_UM
    brightest = np.maximum(found["epithelial"], found.get("mesenchymal", 0.0))
    assert 0.2 < small.mean() < 0.7
    assert brightest[small].min() >= LEAST_STAIN[0] * 0.999
    assert (found["epithelial"][~small] < LEAST_STAIN[0]).mean() > 0.05


def test_a_mesenchymal_stain_spares_the_small_their_ck(ctcs) -> None:
    found = ctcs("hdsca4")
    dim = (found["diameter_um"] <= LARGEST_LEUKOCYTE_UM) & (found["epithelial"] < LEAST_STAIN[0])
    assert dim.sum() > 10
    assert (found["mesenchymal"][dim] >= LEAST_STAIN[0]).all()
