"""Random panels are panels that a network can be trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.simulate.random_panels import MOST_CHANNELS, ROLE_CHANCE, TUMOUR_ROLES, draw_panel

pytestmark = pytest.mark.unit


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1))
def test_every_panel_has_a_nucleus_a_tumour_marker_and_few_channels(seed: int) -> None:
    panel = draw_panel(np.random.default_rng(seed))
    assert panel.roles[0] == "nucleus"
    assert set(panel.roles) & set(TUMOUR_ROLES)
    assert 2 <= len(panel.channels) <= MOST_CHANNELS
    assert panel.network_panel() == panel


def test_every_role_and_panels_without_an_epithelial_marker_turn_up() -> None:
    rng = np.random.default_rng(0)
    panels = [draw_panel(rng) for _ in range(300)]
    assert {role for panel in panels for role in panel.roles} == {"nucleus", *ROLE_CHANCE}
    assert any("epithelial" not in panel.roles for panel in panels)
    assert any(panel.roles.count("epithelial") == 2 for panel in panels)
