from dataclasses import replace

import numpy as np
import pytest

from ctcnet.evaluation.conformal_figures import conformal_figures
from ctcnet.evaluation.rare_events import clopper_pearson
from ctcnet.model_card import ConformalCard
from ctcnet.runtime import Predictions
from ctcnet.runtime.conformal import judge_unassigned

pytestmark = pytest.mark.unit


def test_coverage_is_counted_class_by_class(two_channel_card):
    card = replace(two_channel_card, conformal=ConformalCard((0.1,) * 5, (0.3,) * 5, (10,) * 5))
    p = np.array([[0.8, 0.2, 0, 0, 0], [0.2, 0.8, 0, 0, 0], [0.4, 0.6, 0, 0, 0], [0.2] * 5], np.float32)
    atypicality = np.array([0.5, 0.5, 0.5, 2], np.float32)
    answers = Predictions(p, judge_unassigned(p, atypicality, card), atypicality, np.zeros((4, 0)))
    found = conformal_figures(answers, np.array([0, 0, 1, 1]), card)["conformal"]
    assert found["coverage"]["ctc"] == {
        "crops": 2,
        "held": 1,
        "coverage": 0.5,
        "interval": list(clopper_pearson(1, 2)),
    }
    assert found["coverage"]["leukocyte"]["held"] == 1
    assert found["coverage"]["debris"]["coverage"] is None
    assert found["set_sizes"] == [1, 2, 1, 0, 0, 0]
    assert found["atypical_fraction"] == 0.25
    assert found["review_fraction"] == 0.5


def test_a_model_without_sets_has_no_such_figures(two_channel_card):
    p = np.full((2, 5), 0.2, np.float32)
    answers = Predictions(p, np.ones(2, bool), np.full(2, np.nan, np.float32), np.zeros((2, 0)))
    assert conformal_figures(answers, np.zeros(2, int), two_channel_card) == {}
