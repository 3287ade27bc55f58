"""Thin bands without a source along a frame's border count as seen; wide ones do not."""

from __future__ import annotations

import pytest
import torch

from ctcnet.scan.pipeline.frame_analysis import _widened

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("top", "right"), [(1, 0), (3, 2), (5, 5)])
def test_a_band_within_reach_is_filled(top, right):
    valid = torch.ones((40, 50), dtype=torch.bool)
    valid[:top] = False
    valid[:, 50 - right :] = False
    assert _widened(valid, 5).all()


def test_a_wide_band_stays_but_for_the_reach():
    valid = torch.ones((40, 50), dtype=torch.bool)
    valid[:, :17] = False
    widened = _widened(valid, 5)
    assert widened[:, 12:].all()
    assert not widened[:, :12].any()


def test_what_is_nowhere_valid_stays_so():
    assert not _widened(torch.zeros((40, 50), dtype=torch.bool), 5).any()
