"""Few labels: from the groups allowed alone, so many of each class, small draws within large ones."""

from __future__ import annotations

import numpy as np
import pytest
from label_draws import draw_labels

pytestmark = pytest.mark.unit

LABELS = np.repeat([0, 1, 2], [50, 30, 4])
ALLOWED = np.arange(len(LABELS)) % 3 != 0


@pytest.mark.parametrize("per_class", [1, 5, 40])
def test_so_many_of_each_class_or_all_there_are(per_class: int) -> None:
    rows = draw_labels(LABELS, ALLOWED, per_class, seed=3)

    there = np.bincount(LABELS[ALLOWED])
    assert np.bincount(LABELS[rows]).tolist() == np.minimum(there, per_class).tolist()
    assert ALLOWED[rows].all()
    assert len(np.unique(rows)) == len(rows)


def test_small_draws_lie_within_large_ones_and_seeds_differ() -> None:
    few, more = (set(draw_labels(LABELS, ALLOWED, number, seed=1)) for number in (3, 12))
    other = set(draw_labels(LABELS, ALLOWED, 12, seed=2))

    assert few < more
    assert other != more
