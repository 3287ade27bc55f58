from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ctcnet.evaluation.evaluation_run import score_crops
from ctcnet.model_card import ConformalCard
from ctcnet.runtime import Predictions
from ctcnet.runtime.conformal import judge_unassigned, prediction_sets

pytestmark = pytest.mark.unit

PRIOR = np.array([0.01, 0.96, 0.01, 0.01, 0.01])


def _score(card, p, prior, atypicality=np.nan):
    count = len(p)
    atypicality, names = np.full(count, atypicality, np.float32), np.full(count, "", object)
    answers = Predictions(p, judge_unassigned(p, atypicality, card), atypicality, np.zeros((count, 0)))
    crops = SimpleNamespace(require_targets=lambda: np.eye(5)[[0] * count], path=names, group=names, batch=names)
    return answers, score_crops(crops, card.labels, answers, names, card, prior)


def test_crop_is_not_assigned_to_a_class_outside_its_set_at_another_prior(two_channel_card):
    card = replace(two_channel_card, conformal=ConformalCard((0.1,) * 5, (0.3,) * 5, (10,) * 5))
    p = np.array(
        [
            [0.7, 0.2, 0.1, 0, 0],  # the set is ctc; most probable is leukocyte now
            [0.05, 0.9, 0.05, 0, 0],  # the set is leukocyte, as before
            [0.4, 0.6, 0, 0, 0],  # ctc or leukocyte: unassigned before
        ],
        np.float32,
    )
    answers, scored = _score(card, p, PRIOR)
    np.testing.assert_array_equal(answers.unassigned, [False, False, True])
    np.testing.assert_array_equal(scored.probabilities.argmax(axis=1), [1, 1, 1])
    np.testing.assert_array_equal(scored.unassigned, [True, False, True])
    sets = prediction_sets(p, card)
    assert sets[np.arange(3), scored.probabilities.argmax(axis=1)][~scored.unassigned].all()
    np.testing.assert_array_equal(_score(card, p, None)[1].unassigned, answers.unassigned)


def test_without_sets_unassigned_is_judged_again_at_another_prior(two_channel_card):
    card = replace(two_channel_card, conformal=None, unassigned_below=0.9)
    p = np.array([[0.5, 0.5, 0, 0, 0], [1, 0, 0, 0, 0]], np.float32)
    answers, scored = _score(card, p, PRIOR)
    np.testing.assert_array_equal(answers.unassigned, [True, False])
    np.testing.assert_array_equal(scored.unassigned, [False, False])
    np.testing.assert_array_equal(_score(card, p, PRIOR, atypicality=1.1)[1].unassigned, [True, True])


def test_crops_of_a_class_that_the_panel_cannot_tell_are_of_the_class_it_is_called(two_channel_card):
    card = replace(two_channel_card, folded={"ctc": "leukocyte"})
    scored = _score(card, np.array([[0, 0.9, 0.1, 0, 0]], np.float32), None)[1]
    np.testing.assert_array_equal(scored.truth, [card.labels.classes.index("leukocyte")])
