from dataclasses import replace

import numpy as np
import pytest

from ctcnet.errors import ParityError
from ctcnet.export.parity import _near_a_threshold, check_parity, random_crops
from ctcnet.model_card import ConformalCard
from ctcnet.runtime import OnnxPredictor, Predictions, SessionSettings

pytestmark = pytest.mark.unit


class _Disturbed:
    """A predictor whose answers are moved by a function."""

    def __init__(self, inner, disturb):
        self.inner, self.card, self.disturb = inner, inner.card, disturb
        self.sizes = []

    def predict(self, crops, background=None, scale=None):
        self.sizes.append(len(crops))
        return self.disturb(self.inner.predict(crops, background, scale))


@pytest.fixture
def predictor(write_linear_model):
    return OnnxPredictor(write_linear_model(), SessionSettings(threads=1))


def _check(predictor, disturb):
    return check_parity(predictor, _Disturbed(predictor, disturb), "model.onnx", np.dtype(np.uint16))


def test_equal_models_pass_in_all_batch_sizes(predictor):
    same = _Disturbed(predictor, lambda answer: answer)
    parity = check_parity(predictor, same, "model.onnx", np.dtype(np.uint16))
    assert set(same.sizes) == {1, 2, 7, 64}
    assert parity.crops == sum(same.sizes)
    assert parity.probability_difference == 0


def test_worst_difference_is_the_one_made(predictor):
    def disturb(answer):
        moved = answer.probabilities.copy()
        moved[0, 0] += 5e-5
        return answer._replace(probabilities=moved)

    assert _check(predictor, disturb).probability_difference == pytest.approx(5e-5, rel=0.01)


def test_difference_above_the_limit_is_refused(predictor):
    with pytest.raises(ParityError, match="probabilities"):
        _check(predictor, lambda answer: answer._replace(probabilities=answer.probabilities + np.float32(2e-4)))


def test_atypicality_of_one_alone_is_refused_and_nan_equals_nan(predictor):
    def disturb(answer):
        return answer._replace(atypicality=np.zeros_like(answer.atypicality))

    assert _check(predictor, lambda answer: answer).atypicality_difference == 0
    with pytest.raises(ParityError, match="atypicality"):
        _check(predictor, disturb)


def test_nan_is_refused(predictor):
    with pytest.raises(ParityError, match="inf"):
        _check(predictor, lambda answer: answer._replace(probabilities=answer.probabilities * np.float32(np.nan)))


def test_decision_outside_the_guard_band_is_refused(predictor):
    with pytest.raises(ParityError, match="guard band"):
        _check(predictor, lambda answer: answer._replace(unassigned=~answer.unassigned))


def test_decision_inside_the_guard_band_is_counted(predictor):
    predictor.card = replace(predictor.card, guard_band=2.0)
    assert _check(predictor, lambda answer: answer._replace(unassigned=~answer.unassigned)).decisions_in_guard_band > 0


def test_guard_band_excuses_a_class_that_joined_or_left_the_set_alone(two_channel_card):
    card = replace(two_channel_card, conformal=ConformalCard((0.1,) * 5, (0.5, 0.4, 1, 1, 1), (10,) * 5))
    p = np.array([[0.4999, 0.3, 0.2, 0, 0], [0.4999, 0.3, 0.2, 0, 0], [0.3, 0.3, 0.4, 0, 0]], np.float32)
    moved = p.copy()
    moved[1, :2] += np.array([2e-4, -2e-4], np.float32)  # now the first class is in the set
    atypicality, embedding = np.array([0.5, np.nan, 1.1], np.float32), np.zeros((3, 1))
    expected, found = (Predictions(x, np.zeros(3, bool), atypicality, embedding) for x in (p, moved))
    np.testing.assert_array_equal(_near_a_threshold(expected, found, card), [False, True, False])
    near_one = expected._replace(atypicality=np.array([1.0001, 0.5, 1.1], np.float32))
    np.testing.assert_array_equal(_near_a_threshold(near_one, found, card), [True, True, False])
    without_sets = replace(card, conformal=None, unassigned_below=0.4)
    np.testing.assert_array_equal(_near_a_threshold(near_one, found, without_sets), [True, False, True])


def test_other_decision_from_the_same_sets_is_refused_near_a_threshold_too(predictor):
    p = predictor.predict(random_crops(predictor.card, 64, np.random.default_rng(1))).probabilities
    thresholds = tuple(float(x) for x in np.median(p, axis=0))
    predictor.card = replace(predictor.card, conformal=ConformalCard((0.1,) * 5, thresholds, (10,) * 5), guard_band=0.5)
    with pytest.raises(ParityError, match="guard band"):
        _check(predictor, lambda answer: answer._replace(unassigned=~answer.unassigned))


def test_random_crops_use_the_panels_range(two_channel_card):
    crops = random_crops(two_channel_card, 40, np.random.default_rng(0))
    assert crops.shape == (40, 2, 8, 8)
    assert crops.dtype == np.uint16
    assert 4095 * 0.5 < crops.max() <= 4095
    np.testing.assert_array_equal(crops, random_crops(two_channel_card, 40, np.random.default_rng(0)))
