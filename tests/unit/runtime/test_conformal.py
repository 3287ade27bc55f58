from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from ctcnet.errors import SettingError, StatisticsError
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ConformalCard
from ctcnet.runtime.conformal import (
    fit_conformal,
    for_review,
    holds_ctc,
    judge_unassigned,
    prediction_sets,
    set_names,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def card(two_channel_card):
    """Card whose classes join a set from p = 0.1, 0.2, 0.3, 0.4 and 0.5."""
    return replace(two_channel_card, conformal=ConformalCard((0.1,) * 5, (0.1, 0.2, 0.3, 0.4, 0.5), (10,) * 5))


def _answers(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 3) that are not calibrated, and true classes of unequal frequency."""
    truth = rng.choice(3, count, p=[0.7, 0.2, 0.1])
    logits = rng.normal(size=(count, 3)) + 2.0 * np.eye(3)[truth]
    e = np.exp(3 * logits)
    return (e / e.sum(axis=1, keepdims=True)).astype(np.float32), truth


@settings(max_examples=60)
@given(st.integers(1, 120), st.floats(0.01, 0.5), st.integers(0, 10_000))
def test_threshold_is_the_quantile_of_the_definition(count, alpha, seed):
    own = np.random.default_rng(seed).random(count).astype(np.float32)
    probabilities, truth = np.stack([own, own], axis=1), np.repeat([0, 1], count)
    rank = int(np.ceil((count + 1) * (1 - alpha) - 1e-9))
    if rank > count:
        with pytest.raises(StatisticsError, match="too few calibration crops"):
            fit_conformal(np.tile(probabilities, (2, 1)), truth, alpha)
        return
    found = fit_conformal(np.tile(probabilities, (2, 1)), truth, alpha)
    expected = own[np.argsort(1 - own.astype(np.float64), kind="stable")[rank - 1]]
    assert found.thresholds == (pytest.approx(expected), pytest.approx(expected))
    assert found.calibration_crops == (count, count)


def test_each_class_has_its_own_alpha():
    p, truth = np.tile(np.linspace(0.01, 0.99, 99)[:, None], (2, 2)), np.repeat([0, 1], 99)
    found = fit_conformal(p, truth, (0.1, 0.02))
    assert found.alpha == (0.1, 0.02)
    np.testing.assert_allclose(found.thresholds, (0.1, 0.02), rtol=1e-6)
    with pytest.raises(SettingError):
        fit_conformal(p, truth, (0.1, 0.0))


def test_class_without_a_finite_threshold_is_refused():
    p, truth = np.full((29, 3), 0.3), np.repeat([0, 1, 2], [9, 9, 11])
    assert fit_conformal(p, truth, 0.1).calibration_crops == (9, 9, 11)
    with pytest.raises(StatisticsError, match=r"too few calibration crops of a class for alpha 0\.1") as caught:
        fit_conformal(p[1:], truth[1:], 0.1)
    assert (caught.value.expected, caught.value.found) == ("9, 9, 9 or more", "8, 9, 11")
    with pytest.raises(StatisticsError, match="too few"):
        fit_conformal(p[:18], truth[:18], 0.1)


@pytest.mark.parametrize("alpha", [0.02, 0.1])
def test_each_class_is_covered_as_often_as_stated(two_channel_card, alpha):
    """Over many draws of a calibration and one test crop per class, coverage follows its beta-binomial law."""
    rng = np.random.default_rng(1)
    covered, expected, draws, test_crops = np.zeros(3), np.zeros(3), 300, 40
    spread = np.zeros(3)
    for _ in range(draws):
        probabilities, truth = _answers(1200, rng)
        conformal = fit_conformal(probabilities, truth, alpha)
        model = replace(two_channel_card, conformal=conformal)
        new, new_truth = _answers(1500, rng)
        sets = prediction_sets(new, model)
        assert sets is not None
        for k in range(3):
            own = np.flatnonzero(new_truth == k)[:test_crops]
            covered[k] += sets[own, k].sum()
            n = conformal.calibration_crops[k]
            lost = np.floor((n + 1) * alpha)
            law = betabinom(len(own), n + 1 - lost, lost)
            expected[k] += law.mean()
            spread[k] += law.var()
    assert (expected / (draws * test_crops) >= 1 - alpha - 1e-9).all()
    assert (np.abs(covered - expected) < 4 * np.sqrt(spread) + 1).all()


def test_assigned_is_the_most_probable_class_alone_or_beside_classes_that_contain_a_ctc_too(card):
    p = np.array(
        [
            [0.5, 0.02, 0.03, 0.41, 0.04],  # ctc or ctc_platelet_cluster: a CTC either way
            [0.5, 0.21, 0.03, 0.41 - 0.21, 0.06],  # ctc or leukocyte
            [0.12, 0.1, 0.0, 0.38, 0.4],  # the set is ctc, the most probable class debris
        ],
        np.float32,
    )
    np.testing.assert_array_equal(judge_unassigned(p, np.full(3, np.nan), card), [False, True, True])


def test_unassigned_is_no_single_class_or_atypical(card):
    p = np.array([[0.9, 0.05, 0.05, 0, 0], [0.6, 0.4, 0, 0, 0], [0.05, 0.15, 0.25, 0.35, 0.2]], np.float32)
    p = np.concatenate([p, p[:1], p[:1]])
    atypicality = np.array([0.5, 0.5, 0.5, 1.5, np.nan], np.float32)
    np.testing.assert_array_equal(judge_unassigned(p, atypicality, card), [False, True, True, True, False])
    plain = replace(card, conformal=None, unassigned_below=0.5)
    np.testing.assert_array_equal(judge_unassigned(p, atypicality, plain), [False, False, True, True, False])
    scored = replace(card, atypicality_quantile=0.998)  # a score that could not be computed is none that is typical
    np.testing.assert_array_equal(judge_unassigned(p, atypicality, scored), [False, True, True, True, True])
    plain_scored = replace(plain, atypicality_quantile=0.998)
    np.testing.assert_array_equal(judge_unassigned(p, atypicality, plain_scored), [False, False, True, True, True])
    assert prediction_sets(p, plain) is None
    assert judge_unassigned(p[:0], atypicality[:0], plain).shape == (0,)


def test_no_unassigned_crop_that_may_hold_a_ctc_is_dropped(card):
    p = np.array(
        [
            [0.9, 0.05, 0.05, 0, 0],  # assigned: no review by this rule
            [0.6, 0.4, 0, 0, 0],  # ctc or leukocyte
            [0.09, 0.19, 0.29, 0.39, 0.04],  # empty set, likely a CTC of some kind
            [0, 0.3, 0.01, 0, 0.69],  # leukocyte or debris
        ],
        np.float32,
    )
    unassigned = judge_unassigned(p, np.full(4, np.nan), card)
    np.testing.assert_array_equal(unassigned, [False, True, True, True])
    np.testing.assert_array_equal(for_review(p, unassigned, card), [False, True, True, False])
    sets = prediction_sets(p, card)
    assert sets is not None
    np.testing.assert_array_equal(holds_ctc(sets, card.labels), [True, True, False, False])
    assert set_names(sets, card.labels.classes) == ["ctc", "ctc|leukocyte", "", "leukocyte|debris"]


@pytest.mark.parametrize("conformal", [True, False])
def test_crop_without_numbers_is_unassigned_and_looked_at(card, conformal):
    model = card if conformal else replace(card, conformal=None)
    p = np.array([[0.9, 0.05, 0.05, 0, 0], [np.nan] * 5], np.float32)
    unassigned = judge_unassigned(p, np.array([0.5, np.nan], np.float32), model)
    np.testing.assert_array_equal(unassigned, [False, True])
    np.testing.assert_array_equal(for_review(p, unassigned, model), [False, True])


def test_labels_without_ctcs_are_never_for_review(card):
    other = replace(card, labels=LabelSchema("five", tuple("abcde")))
    p = np.full((3, 5), 0.2, np.float32)
    assert not for_review(p, np.ones(3, bool), other).any()
    assert not holds_ctc(np.ones((3, 5), bool), other.labels).any()


def test_what_cannot_be_fitted_is_refused():
    p, truth = np.full((4, 2), 0.5), np.zeros(4, int)
    for alpha in (0.0, 1.0, float("nan")):
        with pytest.raises(SettingError, match="alpha"):
            fit_conformal(p, truth, alpha)
    with pytest.raises(StatisticsError, match="do not fit"):
        fit_conformal(p, truth[:3], 0.1)
    with pytest.raises(StatisticsError, match="not between"):
        fit_conformal(p * np.nan, truth, 0.1)
