"""Figures that decide between two shipped models, against scikit-learn and a count by hand."""

import numpy as np
import pytest
from candidate_network import LEUKOCYTE, Answers, figures
from sklearn.metrics import log_loss, roc_curve

pytestmark = pytest.mark.unit

CONTAINS_CTC = np.array([True, False, True, True, False])


def _answers(count: int) -> Answers:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, count)
    logits = rng.normal(size=(count, 5)) + 2.5 * np.eye(5)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers(truth, np.zeros(count, int), probabilities)


def test_likelihood_and_recall_are_those_of_scikit_learn() -> None:
    found = _answers(20_000)
    likelihood, recall = figures(found, CONTAINS_CTC)
    assert likelihood == pytest.approx(log_loss(found.truth, found.probabilities), rel=1e-6)
    told = CONTAINS_CTC[found.truth] | (found.truth == LEUKOCYTE)
    score = found.probabilities[:, CONTAINS_CTC].sum(axis=1)[told]
    false_share, true_share, _ = roc_curve(CONTAINS_CTC[found.truth][told], score, drop_intermediate=False)
    assert recall == pytest.approx(np.interp(0.01, false_share, true_share), abs=2e-3)


def test_debris_called_a_ctc_does_not_move_the_recall() -> None:
    found = _answers(5_000)
    worse = found.probabilities.copy()
    worse[found.truth == CONTAINS_CTC.size - 1] = [0.96, 0.01, 0.01, 0.01, 0.01]
    assert figures(found._replace(probabilities=worse), CONTAINS_CTC)[1] == figures(found, CONTAINS_CTC)[1]
