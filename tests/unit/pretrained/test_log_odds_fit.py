import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.special import expit

from ctcnet.log_odds import LogOddsShift
from ctcnet.pretrained import log_odds_fit
from ctcnet.pretrained.log_odds_fit import KNOTS, STIFFNESS, fit_log_odds_shift

pytestmark = pytest.mark.unit


def _crops(count: int, shift: LogOddsShift, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stated log-odds (N,), and whether each crop contains a CTC, at odds shifted from those."""
    rng = np.random.default_rng(seed)
    stated = rng.uniform(-7, 7, count)
    return stated, rng.random(count) < expit(stated + shift.of(stated))


def test_a_shift_is_found_again():
    true = LogOddsShift(KNOTS, (-1.0, -0.5, 0.3, 0.3, 0.3, 0.8, 1.5))
    stated, truth = _crops(400_000, true)
    found = fit_log_odds_shift(stated, truth, np.ones(len(truth)))
    assert found.knots == KNOTS
    distance = np.abs(np.array(found.shifts) - true.shifts)
    assert (distance < (0.4, *[0.1] * 5, 0.4)).all()  # few crops contradict at the ends


def test_weights_are_crops_that_stand_for_several():
    stated, truth = _crops(3000, LogOddsShift(KNOTS, (0.5,) * 7))
    times = np.random.default_rng(1).integers(1, 4, len(truth))
    weighted = fit_log_odds_shift(stated, truth, times)
    repeated = fit_log_odds_shift(np.repeat(stated, times), np.repeat(truth, times), np.ones(times.sum()))
    np.testing.assert_allclose(weighted.shifts, repeated.shifts, atol=1e-4)


def test_a_stiff_shift_is_the_constant_that_makes_as_many_true_as_expected(monkeypatch):
    monkeypatch.setattr(log_odds_fit, "STIFFNESS", 1e9)
    stated, truth = _crops(5000, LogOddsShift(KNOTS, (0.7,) * 7))
    found = np.array(fit_log_odds_shift(stated, truth, np.ones(len(truth))).shifts)
    constant = brentq(lambda shift: expit(stated + shift).sum() - truth.sum(), -5, 5)
    np.testing.assert_allclose(found, constant, atol=1e-4)


def test_no_other_shift_has_a_smaller_loss():
    stated, truth = _crops(2000, LogOddsShift(KNOTS, (-2.0, -1.0, 0.0, 0.5, 0.5, 1.0, 2.0)))
    weight = np.random.default_rng(2).uniform(0.5, 1.5, len(truth))

    def loss(shifts: np.ndarray) -> float:
        p = expit(stated + np.interp(stated, KNOTS, shifts))
        return -(weight * np.log(np.where(truth, p, 1 - p))).sum() + STIFFNESS / 2 * (np.diff(shifts) ** 2).sum()

    found = np.array(fit_log_odds_shift(stated, truth, weight).shifts)
    best = minimize(loss, np.zeros(len(KNOTS)), method="Powell", options={"xtol": 1e-8, "ftol": 1e-13})
    np.testing.assert_allclose(found, best.x, atol=1e-3)
    assert loss(found) <= best.fun + 1e-6


def test_without_crops_there_is_no_shift():
    assert fit_log_odds_shift(np.zeros(0), np.zeros(0, bool), np.zeros(0)).shifts == (0.0,) * len(KNOTS)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-12, 12), st.booleans()), min_size=1, max_size=300))
def test_order_is_kept_whatever_the_crops(crops):
    stated, truth = np.array([c[0] for c in crops]), np.array([c[1] for c in crops])
    assert fit_log_odds_shift(stated, truth, np.ones(len(truth))).keeps_order


def test_order_is_kept_where_the_truth_is_the_opposite_of_what_is_stated():
    stated, _ = _crops(20_000, LogOddsShift(KNOTS, (0.0,) * 7))
    assert fit_log_odds_shift(stated, stated < 0, np.ones(len(stated))).keeps_order
