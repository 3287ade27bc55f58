"""What the report's scatter of two markers shows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ctcnet.panel import load_panel
from ctcnet.scan.pipeline.cartridge_results import scatter_of

pytestmark = pytest.mark.unit


def test_every_counted_ctc_event_is_marked_clusters_too_and_no_other_cluster_is_shown():
    kind = np.array(["cell", "cell", "cluster", "cluster", "object"])
    is_ctc = np.array([True, False, True, False, False])
    columns = {"kind": kind, "mean_CK": np.arange(5.0), "mean_CD45": np.arange(5.0)}
    found = scatter_of(load_panel("ctc5"), columns, is_ctc)
    assert found.x.tolist() == [0, 1, 2, 4]
    assert found.is_ctc.sum() == is_ctc.sum()


def test_panels_without_both_markers_have_none():
    panel = SimpleNamespace(roles=("nucleus", "epithelial"), markers=("DAPI", "CK"))
    assert scatter_of(panel, {}, np.zeros(0, dtype=bool)) is None
