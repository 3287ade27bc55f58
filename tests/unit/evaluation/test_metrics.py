import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_factory import make_scored
from sklearn import metrics as reference

from ctcnet import metrics

pytestmark = pytest.mark.unit


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(5, 80))
def test_confusion_figures_are_those_of_scikit_learn(seed, classes, count):
    rng = np.random.default_rng(seed)
    truth, called = rng.integers(0, classes, (2, count))
    confusion = metrics.group_confusion(truth, called, np.zeros(count, int), 1, classes)[0]
    present = np.unique(truth)
    figures = metrics.confusion_figures(confusion)
    f1 = reference.f1_score(truth, called, labels=present, average="macro", zero_division=0)
    assert figures["macro_f1"] == pytest.approx(f1)
    precision, recall, f1s, support = reference.precision_recall_fscore_support(
        truth, called, labels=present, zero_division=0
    )
    np.testing.assert_allclose(figures["precision"][present], precision)
    np.testing.assert_allclose(figures["recall"][present], recall)
    np.testing.assert_allclose(figures["f1"][present], f1s)
    np.testing.assert_array_equal(figures["support"][present], support)
    assert figures["accuracy"] == pytest.approx(reference.accuracy_score(truth, called))
    assert figures["balanced_accuracy"] == pytest.approx(recall.mean())
    kappa = reference.cohen_kappa_score(truth, called)
    assert figures["cohen_kappa"] == pytest.approx(kappa, nan_ok=True)
    expected = reference.confusion_matrix(truth, called, labels=range(classes))
    np.testing.assert_array_equal(confusion, expected)


def test_absent_class_has_no_figures_and_is_left_out_of_the_mean():
    figures = metrics.confusion_figures(np.array([[8.0, 2.0], [0.0, 0.0]]))
    assert np.isnan(figures["recall"][1])
    assert np.isnan(figures["f1"][1])
    assert figures["precision"][1] == 0
    assert figures["macro_f1"] == pytest.approx(16 / 18)


def test_group_confusion_adds_up_over_groups():
    scored = make_scored()
    table = metrics.group_confusion(scored.truth, scored.called, scored.group_index, scored.group_count, 5)
    assert table.shape == (12, 5, 5)
    np.testing.assert_array_equal(table.sum(axis=0), reference.confusion_matrix(scored.truth, scored.called))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(3, 60))
def test_average_precision_is_that_of_scikit_learn_with_ties_and_weights(seed, count):
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.4
    positive[0] = True
    score = rng.integers(0, 6, count) / 5
    assert metrics.average_precision(positive, score) == pytest.approx(
        reference.average_precision_score(positive, score)
    )
    group = rng.integers(0, 3, count)
    weights = rng.integers(0, 4, (4, 3)).astype(float)
    weights[:, group[0]] += 1
    resampled = metrics.average_precision(positive, score, group, weights)
    for row, weight in zip(resampled, weights, strict=True):
        assert row == pytest.approx(reference.average_precision_score(positive, score, sample_weight=weight[group]))


@pytest.mark.parametrize("chunk_values", [4_000_000, 12])
def test_average_precision_by_group_and_by_crop_agree(monkeypatch, chunk_values):
    rng = np.random.default_rng(0)
    positive, score = rng.random(5000) < 0.1, rng.integers(0, 2000, 5000) / 2000
    group = rng.integers(0, 4, 5000)
    weights = rng.multinomial(4, [0.25] * 4, size=6).astype(float)
    weights[0] = 1
    monkeypatch.setattr(metrics, "_CHUNK_VALUES", chunk_values)
    by_group = metrics.average_precision(positive, score, group, weights)
    monkeypatch.setattr(metrics, "_counts_by_group", metrics._counts_by_crop)
    np.testing.assert_allclose(by_group, metrics.average_precision(positive, score, group, weights))
    assert by_group[0] == pytest.approx(reference.average_precision_score(positive, score))


def test_average_precision_without_a_positive_is_nan():
    assert np.isnan(metrics.average_precision(np.zeros(3, bool), np.arange(3.0)))


def test_nll_and_brier_are_those_of_scikit_learn():
    scored = make_scored(100)
    nll = metrics.negative_log_likelihood(scored.probabilities, scored.targets)
    assert nll.mean() == pytest.approx(reference.log_loss(scored.truth, scored.probabilities))
    two = np.column_stack([scored.probabilities[:, 0], 1 - scored.probabilities[:, 0]])
    target = np.column_stack([scored.truth == 0, scored.truth != 0]).astype(float)
    brier = metrics.brier_score(two, target).mean()
    assert brier == pytest.approx(2 * reference.brier_score_loss(scored.truth == 0, two[:, 0]))


def test_reader_disagreement_counts_ties():
    found = metrics.reader_disagreement(np.array([[1, 0, 0], [0.5, 0.5, 0], [2 / 3, 1 / 3, 0]]))
    assert found["crops_with_more_than_one_label"] == 2
    assert found["crops_tied"] == 1
    assert found["mean_weight_of_first_label"] == pytest.approx((1 + 0.5 + 2 / 3) / 3)
