"""Patients differ in staining, tumour and size; bleed-through goes to the red."""

from __future__ import annotations

import pytest
import torch

from ctcnet.panel import Panel
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import CTC_DIAMETER_UM, Groups, draw_groups

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def many(five_colour: Panel) -> Groups:
    return draw_groups(five_colour, 600, 3, Draws.from_seed(0, torch.device("cpu")))


def test_ctc_size_follows_the_tumour(many: Groups) -> None:
    for tumour, diameter_um in enumerate(CTC_DIAMETER_UM):
        mean = float(many.ctc_diameter_um[many.tumour == tumour].mean())
        assert mean == pytest.approx(diameter_um, rel=0.04)


def test_every_patient_stains_in_its_own_way(many: Groups) -> None:
    assert (many.stain.log().std(0) > 0.25).all()
    assert len(many.stain[:, 1].unique()) == 600


def test_bleed_is_strongest_from_fitc_into_pe_and_small_towards_the_blue(many: Groups, five_colour: Panel) -> None:
    pe, apc, fitc = (five_colour.markers.index(name) for name in ("CK", "CD45", "CD66b"))
    assert 0.01 <= float(many.bleed[:, pe, fitc].mean()) <= 0.05
    assert float(many.bleed[:, apc, pe].mean()) >= 0.005
    assert float(many.bleed[:, fitc, pe].max()) < 0.01
    torch.testing.assert_close(many.bleed.diagonal(dim1=1, dim2=2), torch.ones(600, 5))


def test_colorectal_ctcs_are_smaller_than_leukocytes(many: Groups) -> None:
    assert float(many.ctc_diameter_um[many.tumour == 2].median()) < 9.0
