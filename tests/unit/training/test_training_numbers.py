"""Scores, temperature, schedule and moving average against independent references."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, log_loss

from ctcnet.training import temperature
from ctcnet.training.averaging import averaged_copy, update_average
from ctcnet.training.optimizer import OptimizerSettings, make_optimizer, schedule_factor
from ctcnet.training.scores import average_precision, validation_scores
from ctcnet.training.temperature import fit_temperature

pytestmark = pytest.mark.unit


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 60), levels=st.integers(2, 12))
def test_average_precision_is_that_of_sklearn(seed: int, count: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.3
    score = rng.integers(0, levels, count) / levels  # with ties
    if truth.any():
        assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))
    else:
        assert np.isnan(average_precision(truth, score))


def test_scores_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 80)  # class 3 never occurs
    probabilities = softmax(rng.normal(0, 1, (80, 4)) + 1.5 * np.eye(4)[truth], axis=1)
    scores = validation_scores(probabilities, np.eye(4)[truth])
    call = probabilities.argmax(axis=1)
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, call, labels=[0, 1, 2], average="macro"))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, call))
    assert scores["log_loss"] == pytest.approx(log_loss(truth, probabilities, labels=[0, 1, 2, 3]))
    each = [average_precision_score(truth == k, probabilities[:, k]) for k in range(3)]
    assert scores["mean_average_precision"] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    labels = (rng.random((20_000, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    targets = np.eye(3)[labels]
    bias = np.array([0.5, 0.0, -1.0])
    found = fit_temperature((logits - bias) * true_temperature, bias, targets, targets.mean(axis=0))
    assert found.value == pytest.approx(true_temperature, rel=0.05)
    assert found.note is None


def _sample(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Targets (N, K) of classes drawn by softmax(logits)."""
    labels = (rng.random((len(logits), 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return np.eye(logits.shape[1])[labels]


@pytest.mark.parametrize("true_temperature", [0.6, 0.8, 1.06])
def test_temperature_of_few_crops_is_better_on_others_than_without_a_prior(true_temperature, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    prior, bias = np.full(3, 1 / 3), np.zeros(3)
    others = rng.normal(0, 4, (4_000, 3))
    truth = _sample(others, rng)
    losses = {0.3: [], 1e6: []}
    for _ in range(40):
        logits = rng.normal(0, 4, (45, 3))
        targets = _sample(logits, rng)
        for spread, found in losses.items():
            monkeypatch.setattr(temperature, "SPREAD", spread)
            value = fit_temperature(logits * true_temperature, bias, targets, prior).value
            found.append(temperature.log_loss(others * true_temperature, bias, truth, value, np.ones(4_000)))
    best = temperature.log_loss(others, bias, truth, 1.0, np.ones(4_000))
    assert np.mean(losses[0.3]) - best < 0.9 * (np.mean(losses[1e6]) - best)


def test_rare_classes_that_count_for_much_are_few_crops() -> None:
    """With nearly all weight on two crops the temperature stays near the usual one, as with two crops."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 1, (400, 2)), np.repeat([0, 1], [398, 2])
    logits[398:, 1] += 3
    found = fit_temperature(logits, np.zeros(2), np.eye(2)[labels], np.array([0.001, 0.999]))
    assert 0.7 * temperature.TYPICAL < found.value < 1.2


def test_temperature_is_refused_with_few_crops() -> None:
    found = fit_temperature(np.zeros((29, 2)), np.zeros(2), np.eye(2)[np.zeros(29, int)], np.array([0.5, 0.5]))
    assert found.value == 1.0
    assert "29 validation crops" in str(found.note)


def test_schedule() -> None:
    rates = [schedule_factor(step, 10, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_no_decay_on_norms_and_biases() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    decayed, plain = make_optimizer(network, OptimizerSettings(weight_decay=0.1)).param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_moving_average() -> None:
    network = torch.nn.BatchNorm1d(2)
    average = averaged_copy(network)
    start = network.weight.detach().clone()
    with torch.no_grad():
        network.weight.add_(1)
        network.running_mean.add_(2)  # type: ignore[union-attr]
        network.num_batches_tracked.add_(5)  # type: ignore[union-attr]
    update_average(average, network, 0.9, step=1000)
    assert torch.allclose(average.weight, start + 0.1)
    assert torch.allclose(average.running_mean, torch.full((2,), 0.2))
    assert int(average.num_batches_tracked) == 5
    assert not average.weight.requires_grad
    update_average(average, network, 0.9, step=0)
    assert torch.allclose(average.weight, start + 1 - 0.9 * 0.1)
