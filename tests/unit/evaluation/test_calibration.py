from dataclasses import replace

import numpy as np
import pytest
from scored_factory import make_scored

from ctcnet.evaluation.calibration import expected_calibration_error, log_odds_calibration
from ctcnet.evaluation.rare_events import clopper_pearson

pytestmark = pytest.mark.unit


def test_calibration_error_is_the_textbook_sum():
    scored = make_scored(500, signal=1.0)
    confidence, correct = scored.probabilities.max(axis=1), scored.called == scored.truth
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert expected_calibration_error(scored.probabilities, correct) == pytest.approx(expected)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not():
    certain = np.tile([1.0, 0.0], (10, 1))
    assert expected_calibration_error(certain, np.ones(10, bool)) == 0
    assert expected_calibration_error(certain, np.zeros(10, bool)) == 1


def test_log_odds_bins_hold_calibrated_events():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-3, 4, 40_000)
    positive = rng.random(40_000) < 1 / (1 + np.exp(-log_odds))
    found = log_odds_calibration(log_odds, positive)
    assert sum(b["count"] for b in found["bins"]) == 40_000
    assert found["bins"][0]["low"] is None
    assert found["expected_positives"] == pytest.approx(positive.sum(), rel=0.03)
    middle = next(b for b in found["bins"] if b["low"] == 0)
    assert middle["observed_log_odds"] == pytest.approx(middle["mean_predicted_log_odds"], abs=0.15)
    low, high = clopper_pearson(middle["positives"], middle["count"])
    assert middle["observed_interval"] == pytest.approx([np.log(low / (1 - low)), np.log(high / (1 - high))])


def test_a_bin_of_one_kind_has_an_open_end():
    found = log_odds_calibration(np.full(20, -5.0), np.zeros(20, bool))
    (only,) = found["bins"]
    assert only["observed_log_odds"] is None
    assert only["observed_interval"][0] is None
    assert only["observed_interval"][1] < 0


def test_rollup_odds_stay_apart_where_the_probability_rounds_to_one():
    scored = make_scored(2)
    p = np.array([[1 - 1e-9, 1e-9, 0, 0, 0], [1 - 1e-11, 0, 0, 0, 1e-11]])
    log_odds, positive = replace(scored, probabilities=p).rollup("contains_ctc")
    assert log_odds == pytest.approx([9 * np.log(10), 11 * np.log(10)], rel=1e-6)
    assert positive.dtype == bool
