"""The stream of events without a CTC: the same every time, and other patients in every piece."""

from __future__ import annotations

import numpy as np
import pytest
from negative_stream import negatives

from ctcnet.panel import load_panel

pytestmark = pytest.mark.unit


def test_a_piece_is_the_same_every_time_and_pieces_differ() -> None:
    panel = load_panel("ctc5")
    first, again, other = (next(negatives(panel, "hard", piece, 6, 3)) for piece in (0, 0, 1))

    assert first.counts.shape == (6, len(panel.channels), 64, 64)
    assert first.background.shape == first.scale.shape == (6, len(panel.channels))
    assert (first.scale > 0).all()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.isin(other.scale, first.scale).any()
