from dataclasses import replace

import numpy as np
import pytest
from scored_factory import make_scored
from sklearn.metrics import f1_score

from ctcnet.errors import StatisticsError
from ctcnet.evaluation.bootstrap import bootstrap_confusion, paired_difference, percentile_interval, resample_weights
from ctcnet.evaluation.intervals import figure_intervals
from ctcnet.metrics import group_confusion

pytestmark = pytest.mark.unit


def test_weights_draw_as_many_groups_as_there_are_and_repeat_with_the_seed():
    chunks = list(resample_weights(7, 50, 0, chunk_values=1_000_000))
    assert len(chunks) > 1
    weights = np.concatenate(chunks)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(weights, np.concatenate(list(resample_weights(7, 50, 0))))
    assert (weights != np.concatenate(list(resample_weights(7, 50, 1)))).any()


def test_resampled_figures_are_those_of_the_resampled_crops():
    scored = make_scored(200, groups=5)
    table = group_confusion(scored.truth, scored.called, scored.group_index, 5, 5)
    draws = bootstrap_confusion(table, 3, seed=4)["macro_f1"]
    weights = np.concatenate(list(resample_weights(5, 3, 4)))
    for value, weight in zip(draws, weights, strict=True):
        rows = np.repeat(np.arange(200), weight[scored.group_index].astype(int))
        labels = np.unique(scored.truth[rows])
        expected = f1_score(scored.truth[rows], scored.called[rows], labels=labels, average="macro", zero_division=0)
        assert value == pytest.approx(expected)


def test_interval_of_a_mean_has_the_width_that_theory_gives():
    rng = np.random.default_rng(0)
    correct = rng.random(400) < 0.8
    truth, group = np.zeros(400, int), np.arange(400)
    table = group_confusion(truth, (~correct).astype(int), group, 400, 2)
    low, high = percentile_interval(bootstrap_confusion(table, 4000, 0)["accuracy"])
    p = correct.mean()
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 400), rel=0.06)


def test_intervals_are_wider_over_groups_that_differ_than_over_crops():
    rng = np.random.default_rng(1)
    scored = make_scored(1000, groups=10, signal=1.5)
    easy = rng.random(10) < 0.5
    p = np.where(easy[scored.group_index][:, None], scored.targets * 0.9 + 0.02, scored.probabilities)
    grouped = replace(scored, probabilities=p)
    alone = replace(grouped, group=scored.path)
    wide, narrow = (figure_intervals(s, 300, 0)[0]["accuracy"] for s in (grouped, alone))
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_one_group_gives_no_interval_and_the_reason():
    intervals, method = figure_intervals(make_scored(50, groups=1), 100, 0)
    assert intervals["macro_f1"] is None
    assert intervals["per_class"]["ctc"]["recall"] is None
    assert "one group" in method["reason"]
    with pytest.raises(StatisticsError):
        list(resample_weights(1, 10, 0))


def test_class_of_one_group_has_no_interval_and_few_groups_are_noted():
    scored = make_scored(200, groups=4)
    group = scored.group.copy()
    group[scored.truth == 0] = "patient-0"
    intervals, method = figure_intervals(replace(scored, group=group), 100, 0)
    assert intervals["per_class"]["ctc"]["f1"] is None
    assert intervals["per_class"]["debris"]["f1"] is not None
    assert method["classes_without"] == ["ctc"]
    assert "few" in method["note"]


def test_paired_difference_sees_what_the_two_intervals_hide():
    rng = np.random.default_rng(2)
    truth, group = rng.integers(0, 3, 600), rng.integers(0, 15, 600)
    second = np.where(rng.random(600) < 0.3, (truth + 1) % 3, truth)
    first = np.where(rng.random(600) < 0.15, truth, second)
    found = paired_difference(truth, first, second, group, 3, resamples=500)["macro_f1"]
    assert found.difference == pytest.approx(found.first - found.second)
    assert found.first == pytest.approx(f1_score(truth, first, average="macro"))
    assert 0 < found.low < found.difference < found.high
    same = paired_difference(truth, second, second, group, 3, resamples=50)["accuracy"]
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    seeds = paired_difference(truth, np.stack([first, second]), second, group, 3, resamples=200)["accuracy"]
    one = paired_difference(truth, first, second, group, 3, resamples=200)["accuracy"]
    assert seeds.difference == pytest.approx(one.difference / 2)
