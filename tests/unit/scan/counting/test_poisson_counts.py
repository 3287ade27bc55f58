"""Intervals and probabilities of bare counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from ctcnet.errors import StatisticsError
from ctcnet.scan.counting.poisson import poisson_interval, probability_at_least, proportion_interval

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0, 3.69), (1, 0.03, 5.57), (3, 0.62, 8.77), (5, 1.62, 11.67), (10, 4.80, 18.39)]
)
def test_golden_intervals(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))


@given(st.integers(0, 400), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_bounds_leave_the_stated_tails(count: int, level: float) -> None:
    low, high = poisson_interval(count, level)
    assert stats.poisson.cdf(count, high) == pytest.approx((1 - level) / 2, rel=1e-6)
    if count:
        assert stats.poisson.sf(count - 1, low) == pytest.approx((1 - level) / 2, rel=1e-6)
    else:
        assert low == 0


@pytest.mark.parametrize("mean", [0.3, 1.0, 2.7, 6.0, 15.0])
def test_interval_covers_the_mean_as_often_as_it_says(mean: float) -> None:
    counts = range(80)
    inside = [poisson_interval(k)[0] <= mean <= poisson_interval(k)[1] for k in counts]
    assert sum(stats.poisson.pmf(k, mean) for k, within in zip(counts, inside, strict=True) if within) >= 0.95


@pytest.mark.parametrize(("count", "probability"), [(3, 0.19), (4, 0.35), (5, 0.53), (7, 0.82)])
def test_golden_probabilities(count: int, probability: float) -> None:
    assert probability_at_least(count, 5) == pytest.approx(probability, abs=0.005)


@given(st.integers(0, 40), st.floats(0.1, 30))
def test_probability_is_the_share_of_the_posterior(count: int, mean: float) -> None:
    def density(mu: float) -> float:
        return math.exp((count - 0.5) * math.log(mu) - mu - math.lgamma(count + 0.5))

    below = integrate.quad(lambda root: 2 * root * density(root * root) if root else 0.0, 0, math.sqrt(mean))[0]
    assert probability_at_least(count, mean) == pytest.approx(1 - below, abs=1e-6)


def test_share_of_none_says_nothing() -> None:
    assert proportion_interval(0, 0) == (0, 1)


@given(st.integers(1, 200), st.data())
def test_share_interval_agrees_with_scipy(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    exact = stats.binomtest(count, total).proportion_ci(method="exact")
    assert proportion_interval(count, total) == pytest.approx((exact.low, exact.high), abs=1e-6)


@pytest.mark.parametrize("count", [-1, 2.5, "3"])
def test_what_is_no_count_is_refused(count: object) -> None:
    with pytest.raises(StatisticsError, match="is no count"):
        poisson_interval(count)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [0, 1, 95])
def test_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(StatisticsError, match="level"):
        poisson_interval(3, level)


def test_negative_cut_off_and_too_large_a_share_are_refused() -> None:
    with pytest.raises(StatisticsError, match="cut-off"):
        probability_at_least(3, -1)
    with pytest.raises(StatisticsError, match="share"):
        proportion_interval(4, 3)
