"""Counts corrected for missed and false calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ctcnet.errors import ModelFileError, StatisticsError
from ctcnet.scan.counting.corrected import (
    Correction,
    corrected_interval,
    corrected_probability_at_least,
    correction_from_validation,
)
from ctcnet.scan.counting.estimates import CountBasis, estimate
from ctcnet.scan.counting.poisson import poisson_interval, probability_at_least

pytestmark = pytest.mark.unit

PERFECT = Correction(10**8, 10**8, 0, 10**8)
USUAL = Correction(90, 100, 5, 10)


@pytest.mark.parametrize("count", [0, 1, 3, 5, 10, 200])
def test_perfect_model_leaves_the_exact_interval(count: int) -> None:
    assert corrected_interval(count, PERFECT) == pytest.approx(poisson_interval(count), rel=1e-5, abs=1e-6)
    assert corrected_probability_at_least(count, 5, PERFECT) == pytest.approx(probability_at_least(count, 5), abs=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 20), st.integers(0, 30))
def test_interval_is_ordered_and_wider_with_a_worse_model(found: int, missed: int, count: int) -> None:
    correction = Correction(found, found + missed, 0, 10)
    low, high = corrected_interval(count, correction)
    assert 0 <= low <= count / (found / (found + missed)) <= high * 1.5
    assert corrected_interval(count, Correction(found, found + missed + 5, 0, 10))[1] > high


def test_calls_that_false_ones_explain_leave_no_lower_bound() -> None:
    low, high = corrected_interval(4, Correction(95, 100, 40, 10))
    assert low == 0
    assert 3 < high < poisson_interval(4)[1]


def test_fewer_calls_than_the_false_ones_expected_still_give_an_interval() -> None:
    low, high = corrected_interval(0, Correction(95, 100, 20_000, 10))
    assert low == 0
    assert high > 3
    assert 0 < corrected_probability_at_least(0, 1, Correction(95, 100, 20_000, 10)) < 0.5


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
    half = Correction(50, 100, 0, 100)
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


def test_false_calls_are_those_of_the_counted_share_as_in_sampling() -> None:
    random = np.random.default_rng(5)
    draws, many = 400_000, Correction(90, 100, 40, 10)
    s, b = random.beta(90.5, 10.5, draws), random.gamma(40.5, 1 / 10, draws)
    mu = random.uniform(0, np.sqrt(60), draws) ** 2  # density mu^(-1/2)
    weight = stats.poisson.pmf(6, s * mu + b / 2)
    expected = weight[mu >= 5].sum() / weight.sum()
    assert corrected_probability_at_least(6, 5, many, counted_share=0.5) == pytest.approx(expected, abs=0.01)
    assert abs(corrected_probability_at_least(6, 5, many) - expected) > 0.1


def test_interval_per_volume_covers_the_mean_where_half_of_the_frames_are_missing() -> None:
    random = np.random.default_rng(11)
    basis = CountBasis(7.5, counted_share=0.5, correction=Correction(90, 100, 1000, 10))
    covered, runs, mean = 0, 200, 40.0
    for _ in range(runs):
        sensitivity, false_rate = random.beta(90.5, 10.5), random.gamma(1000.5, 1 / 10)
        count = int(random.poisson(0.5 * (sensitivity * mean + false_rate)))
        corrected = estimate(count, basis, correct=True)["corrected"]
        covered += corrected["per_7_5_ml_interval"][0] <= mean <= corrected["per_7_5_ml_interval"][1]
    assert covered / runs >= stats.binom.ppf(0.001, runs, 0.95) / runs


def test_card_gives_the_correction() -> None:
    validation = {
        "macro_f1": 0.9,
        "sensitivity": {"true_positives": 95, "positives": 100},
        "false_calls": {"calls": 3, "cartridges": 10},
    }
    assert correction_from_validation(validation) == Correction(95, 100, 3, 10)


@pytest.mark.parametrize("missing", ["sensitivity", "false_calls"])
def test_card_without_a_figure_gives_none(missing: str) -> None:
    validation = {"sensitivity": {"true_positives": 9, "positives": 10}, "false_calls": {"calls": 3, "cartridges": 10}}
    del validation[missing]
    assert correction_from_validation(validation) is None


@pytest.mark.parametrize(
    "sensitivity",
    [{"true_positives": 9}, {"true_positives": 11, "positives": 10}, {"true_positives": 0, "positives": 10}, 0.9,
     {"true_positives": 9.5, "positives": 10}, {"true_positives": True, "positives": 10}],
)  # fmt: skip
def test_card_with_impossible_figures_is_refused(sensitivity: object) -> None:
    validation = {"sensitivity": sensitivity, "false_calls": {"calls": 0, "cartridges": 1}}
    with pytest.raises(ModelFileError, match="sensitivity or false calls") as raised:
        correction_from_validation(validation, "card.json")
    assert raised.value.where == "card.json"


@pytest.mark.parametrize("figures", [(0, 10, 0, 1), (3, 2, 0, 1), (3, 3, -1, 1), (3, 3, 0, 0)])
def test_impossible_correction_is_refused(figures: tuple[int, int, int, int]) -> None:
    with pytest.raises(StatisticsError):
        Correction(*figures)
