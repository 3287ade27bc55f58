import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from ctcnet.errors import StatisticsError
from ctcnet.evaluation.rare_events import clopper_pearson, garwood, recall_at_false_calls

pytestmark = pytest.mark.unit


@settings(max_examples=30)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_scipys_exact_interval(counts):
    hits, trials = counts
    expected = binomtest(hits, trials).proportion_ci(0.95, "exact")
    assert clopper_pearson(hits, trials) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0, 3.69), (1, 0.03, 5.57), (3, 0.62, 8.77), (5, 1.62, 11.67), (10, 4.80, 18.39)],
)
def test_garwood_golden_values(count, low, high):
    assert garwood(count) == pytest.approx((low, high), abs=0.006)


def test_impossible_counts_are_refused():
    with pytest.raises(StatisticsError):
        clopper_pearson(3, 2)
    with pytest.raises(StatisticsError):
        garwood(-1)


def _scores(negatives, positives, seed=0):
    rng = np.random.default_rng(seed)
    score = np.r_[rng.normal(size=negatives), rng.normal(3.5, 1, size=positives)]
    return score, np.arange(len(score)) >= negatives


def test_too_few_negatives_are_refused_with_what_they_could_say():
    found = recall_at_false_calls(*_scores(40_000, 100))
    assert found["1"]["recall"] is None
    assert "3,000,000 are needed" in found["1"]["reason"]
    assert "300,000 are needed" in found["10"]["reason"]
    assert "75 per million" in found["10"]["reason"]
    assert "reason" not in found["100"]
    assert found["100"]["support"] == "claimed"


def test_just_enough_negatives_and_one_too_few():
    assert recall_at_false_calls(*_scores(30_000, 5), per_million=[100])["100"]["recall"] is not None
    assert recall_at_false_calls(*_scores(29_999, 5), per_million=[100])["100"]["recall"] is None


def test_recall_at_the_threshold_that_lets_the_rate_through():
    score, positive = _scores(300_000, 200)
    entry = recall_at_false_calls(score, positive, per_million=[100])["100"]
    threshold = np.sort(score[~positive])[::-1][30]
    assert entry["support"] == "measured"
    assert entry["false_calls"] == 30
    assert entry["recall"] == pytest.approx((score[positive] > threshold).mean())
    assert entry["recall_interval"] == pytest.approx(clopper_pearson(entry["true_calls"], 200))
    low, high = entry["false_calls_per_million_interval"]
    assert low < 100 < high
    strict = entry["at_bound"]
    assert strict["false_calls"] < 30
    assert strict["recall"] <= entry["recall"]
    assert strict["false_calls_per_million_interval"][1] < 110


def test_no_false_call_seen_in_three_over_the_rate_is_the_least_claim():
    score, positive = _scores(30_000, 50)
    assert recall_at_false_calls(score, positive, per_million=[100])["100"]["at_bound"]["false_calls"] == 0


def test_tied_negatives_are_never_let_through_in_part():
    score = np.r_[np.zeros(29_000), np.ones(1_000), np.full(10, 2.0), np.ones(10)]
    positive = np.arange(len(score)) >= 30_000
    entry = recall_at_false_calls(score, positive, per_million=[100])["100"]
    assert entry["false_calls"] == 0
    assert entry["recall"] == 0.5


def test_no_positives_is_a_reason_too():
    entry = recall_at_false_calls(*_scores(30_000, 0), per_million=[100])["100"]
    assert "no positives" in entry["reason"]
    assert recall_at_false_calls(*_scores(0, 3), per_million=[100])["100"]["recall"] is None
