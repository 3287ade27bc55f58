"""Recall at rare false calls: against counting by hand, and as many negatives as the statement needs."""

from __future__ import annotations

import numpy as np
import pytest
from negative_stream import PIECE_CROPS
from simulated_peers import log_odds, pieces_needed, recalls

from ctcnet.labels import load_schema

pytestmark = pytest.mark.unit

SCHEMA = load_schema("five_class")


def test_log_odds_are_between_the_classes_with_and_without_a_ctc() -> None:
    probabilities = np.array([[0.1, 0.5, 0.1, 0.1, 0.2], [0, 1, 0, 0, 0]], dtype=np.float32)

    found = log_odds(probabilities, SCHEMA)

    assert found[0] == pytest.approx(np.log(0.3 / 0.7), abs=1e-5)
    assert found[1] == pytest.approx(-30, abs=0.1)


def test_recall_of_each_class_is_counted_above_the_threshold_of_the_negatives() -> None:
    negative = np.arange(30_000) / 30_000  # 3 false calls allowed: threshold is the fourth greatest
    truth = np.array([0, 0, 2, 2, 3, 1, 4])
    score = np.array([2.0, 0.5, 1.0, 2.0, 0.0, 9.0, 9.0])

    found = recalls(score, truth, negative, SCHEMA, 100)

    assert {name: entry["recall"] for name, entry in found.items()} == {
        "ctc": 0.5,
        "ctc_neutrophil_cluster": 1.0,
        "ctc_platelet_cluster": 0.0,
    }
    assert all(entry["false_calls"] == 3 for entry in found.values())


@pytest.mark.parametrize("per_million", [10, 100])
def test_pieces_suffice_for_the_statement_and_no_more(per_million: int) -> None:
    pieces = pieces_needed(per_million)
    truth, score = np.array([0]), np.array([1.0])

    for count, possible in ((pieces, True), (pieces - 1, False)):
        found = recalls(score, truth, np.zeros(count * PIECE_CROPS), SCHEMA, per_million)
        assert (found["ctc"]["recall"] is not None) == possible
