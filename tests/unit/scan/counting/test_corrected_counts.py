"""Counts corrected for missed and false calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ctcnet.call_rates import CallRate, CallRates
from ctcnet.errors import StatisticsError
from ctcnet.scan.counting.corrected import (
    Correction,
    FalseCalls,
    corrected_interval,
    corrected_probability_at_least,
    corrected_value,
    correction_of,
    probability_of_so_few,
)
from ctcnet.scan.counting.poisson import poisson_interval, probability_at_least

pytestmark = pytest.mark.unit


def _one(found: int, positives: int, calls: int, rate: int) -> Correction:
    """False calls of one class, of which a `rate`-th of as many events as were looked at were counted."""
    return Correction(found, positives, (FalseCalls(calls, 1000 * rate, 1000),))


PERFECT = _one(10**8, 10**8, 0, 10**8)
USUAL = _one(90, 100, 5, 10)
MIXED = Correction(90, 100, (FalseCalls(2, 4000, 3000), FalseCalls(20, 300, 45), FalseCalls(7, 500, 0)))
"""Leukocytes, debris, and a class of which no event was counted."""


def _false_calls_drawn(correction: Correction, random: np.random.Generator, draws: int) -> np.ndarray:
    """Expected false calls, drawn class by class from what is not known of their rates."""
    parts = (p.counted * random.gamma(p.calls + 0.5, 1 / p.events, draws) for p in correction.false_calls)
    return np.sum(list(parts), axis=0)


@pytest.mark.parametrize("count", [0, 1, 3, 5, 10, 200])
def test_perfect_model_leaves_the_exact_interval(count: int) -> None:
    assert corrected_interval(count, PERFECT) == pytest.approx(poisson_interval(count), rel=1e-5, abs=1e-6)
    assert corrected_probability_at_least(count, 5, PERFECT) == pytest.approx(probability_at_least(count, 5), abs=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 20), st.integers(0, 30))
def test_interval_is_ordered_and_wider_with_a_worse_model(found: int, missed: int, count: int) -> None:
    correction = _one(found, found + missed, 0, 10)
    low, high = corrected_interval(count, correction)
    assert 0 <= low <= count / (found / (found + missed)) <= high * 1.5
    assert corrected_interval(count, _one(found, found + missed + 5, 0, 10))[1] > high


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(0, 20), st.integers(0, 30), st.integers(0, 40), st.integers(1, 100))
def test_value_lies_within_its_interval(found: int, missed: int, count: int, calls: int, rate: int) -> None:
    correction = _one(found, found + missed, calls, rate)
    low, high = corrected_interval(count, correction)
    assert low <= corrected_value(count, correction) <= high


def test_value_is_that_of_the_moments() -> None:
    assert corrected_value(7, PERFECT) == pytest.approx(7, rel=1e-6)
    assert corrected_value(20, USUAL) == pytest.approx((20 - 5.5 / 10) / (90.5 / 101), rel=1e-12)
    assert corrected_value(1, _one(95, 100, 40, 10)) == 0


def test_calls_that_false_ones_explain_leave_no_lower_bound() -> None:
    low, high = corrected_interval(4, _one(95, 100, 40, 10))
    assert low == 0
    assert 3 < high < poisson_interval(4)[1]


def test_fewer_calls_than_the_false_ones_expected_still_give_an_interval() -> None:
    low, high = corrected_interval(0, _one(95, 100, 20_000, 10))
    assert low == 0
    assert high > 3
    assert 0 < corrected_probability_at_least(0, 1, _one(95, 100, 20_000, 10)) < 0.5


@pytest.mark.parametrize("mean", [1.0, 5.0, 20.0])
def test_interval_covers_the_mean_in_simulated_laboratories(mean: float) -> None:
    """Each laboratory measures its model's figures, then one cartridge; true figures are drawn from their priors."""
    random = np.random.default_rng(7)
    covered, runs = 0, 300
    for _ in range(runs):
        sensitivity, false_rate = random.beta(90.5, 10.5), random.gamma(5.5, 1 / 10)
        count = int(random.poisson(sensitivity * mean + false_rate))
        low, high = corrected_interval(count, USUAL)
        covered += low <= mean <= high
    assert covered / runs >= stats.binom.ppf(0.001, runs, 0.95) / runs


def test_uncorrected_interval_would_miss_the_mean() -> None:
    """The check above can fail: with half the cells missed, the bare interval does not cover."""
    random = np.random.default_rng(7)
    half = _one(50, 100, 0, 100)
    counts = random.poisson(random.beta(50.5, 50.5, 200) * 20.0)
    bare = np.mean([poisson_interval(int(k))[0] <= 20 <= poisson_interval(int(k))[1] for k in counts])
    mended = np.mean([corrected_interval(int(k), half)[0] <= 20 <= corrected_interval(int(k), half)[1] for k in counts])
    assert bare < 0.5
    assert mended > 0.9


def test_probability_agrees_with_sampling() -> None:
    random = np.random.default_rng(3)
    draws = 400_000
    s, b = random.beta(90.5, 10.5, draws), random.gamma(5.5, 1 / 10, draws)
    mu = random.uniform(0, np.sqrt(60), draws) ** 2  # density mu^(-1/2)
    weight = stats.poisson.pmf(6, s * mu + b)
    expected = weight[mu >= 5].sum() / weight.sum()
    assert corrected_probability_at_least(6, 5, USUAL) == pytest.approx(expected, abs=0.01)


def test_false_calls_of_several_classes_add_up_as_in_sampling() -> None:
    random = np.random.default_rng(5)
    draws = 400_000
    s, b = random.beta(90.5, 10.5, draws), _false_calls_drawn(MIXED, random, draws)
    mu = random.uniform(0, np.sqrt(80), draws) ** 2  # density mu^(-1/2)
    weight = stats.poisson.pmf(9, s * mu + b)
    expected = weight[mu >= 5].sum() / weight.sum()
    assert corrected_probability_at_least(9, 5, MIXED) == pytest.approx(expected, abs=0.01)
    assert abs(corrected_probability_at_least(9, 5, _one(90, 100, 0, 10**6)) - expected) > 0.1
    assert b.mean() == pytest.approx(MIXED.expected_false_calls, rel=0.01)
    assert probability_of_so_few(3, MIXED) == pytest.approx((random.poisson(b) <= 3).mean(), abs=0.003)


def test_interval_agrees_with_sampling() -> None:
    """The bounds by their definition: P(K <= 8 at the lower) is 0.975, P(K <= 9 at the upper) 0.025 of that at 0."""
    random = np.random.default_rng(6)
    draws = 400_000
    s, b = random.beta(90.5, 10.5, draws), _false_calls_drawn(MIXED, random, draws)
    low, high = corrected_interval(14, MIXED)
    assert stats.poisson.cdf(13, s * low + b).mean() == pytest.approx(0.975, abs=0.002)
    at_high = stats.poisson.cdf(14, s * high + b).mean() / stats.poisson.cdf(14, b).mean()
    assert at_high == pytest.approx(0.025, abs=0.002)


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(1, 5000), st.integers(1, 4000), st.integers(0, 12))
def test_class_cut_in_two_is_the_class(calls: int, events: int, counted: int, count: int) -> None:
    """A class looked at in full adds what its events do, however small: no events, no false calls."""
    whole = Correction(90, 100, (FalseCalls(calls, events, counted),))
    with_none = Correction(90, 100, (FalseCalls(3, 10, 0), FalseCalls(calls, events, counted)))
    assert corrected_interval(count, with_none) == corrected_interval(count, whole)
    n, rate = calls + 0.5, events / counted
    reference = stats.nbinom.cdf(count, n, rate / (rate + 1))
    assert probability_of_so_few(count, whole) == pytest.approx(reference, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("mean", [2.0, 10.0])
def test_interval_covers_the_mean_where_rates_were_measured_by_each_laboratory(mean: float) -> None:
    """True rates are fixed here; each laboratory measures them anew on its own cells, and scans one cartridge."""
    random = np.random.default_rng(12)
    true_sensitivity, true_rates = 0.8, (0.0005, 0.03)
    covered, runs = 0, 300
    for _ in range(runs):
        found = max(1, int(random.binomial(100, true_sensitivity)))
        measured = [int(random.binomial(n, r)) for n, r in zip((2000, 300), true_rates, strict=True)]
        correction = Correction(found, 100, (FalseCalls(measured[0], 2000, 3000), FalseCalls(measured[1], 300, 60)))
        expected = true_sensitivity * mean + 3000 * true_rates[0] + 60 * true_rates[1]
        low, high = corrected_interval(int(random.poisson(expected)), correction)
        covered += low <= mean <= high
    assert covered / runs >= stats.binom.ppf(0.001, runs, 0.95) / runs


def test_rates_of_the_card_meet_the_events_counted() -> None:
    half, none = CallRate(50, 100, (0.39, 0.61)), CallRate(0, 500, (0, 0.0074))
    rates = CallRates(half, {"ctc": half}, {"leukocyte": none}, True, "cartridge", 5, "ab", "cd", "0.1")
    assert correction_of(rates, {"leukocyte": 2000}) == Correction(50, 100, (FalseCalls(0, 500, 2000),))


@pytest.mark.parametrize("figures", [(0, 10, 0, 1), (3, 2, 0, 1), (3, 3, -1, 1), (3, 3, 0, 0)])
def test_impossible_correction_is_refused(figures: tuple[int, int, int, int]) -> None:
    found, positives, calls, events = figures
    with pytest.raises(StatisticsError):
        Correction(found, positives, (FalseCalls(calls, events, 10),))
