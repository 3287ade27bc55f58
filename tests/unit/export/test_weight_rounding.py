"""Weights in 8 bits: what no processor overflows with, and what the rounding costs."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ctcnet.export.weight_rounding import InputMoments, round_weights

pytestmark = pytest.mark.unit

FILTERS, INPUTS = 6, 40


def _case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Filters, biases, and inputs (N, D) as alike as neighbouring pixels are, not around 0."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, INPUTS)) + 0.1 * rng.normal(size=(4000, INPUTS)) + 2
    return rng.normal(size=(FILTERS, INPUTS)), rng.normal(size=FILTERS), inputs


def _moments(inputs: np.ndarray, reduced: np.ndarray | None = None) -> InputMoments:
    reduced = inputs if reduced is None else reduced
    centred = reduced - reduced.mean(axis=0)
    products = centred.T @ centred, centred.T @ (inputs - inputs.mean(axis=0))
    return InputMoments(inputs.mean(axis=0), reduced.mean(axis=0), *(value / len(inputs) for value in products))


def _error(rounded, weights, bias, inputs) -> float:
    answers = inputs @ (rounded.weights * rounded.scale[:, None]).T + rounded.bias
    return float(np.sqrt(np.mean((answers - inputs @ weights.T - bias) ** 2)))


@pytest.mark.parametrize("seed", range(3))
def test_answers_to_the_inputs_seen_stay(seed):
    weights, bias, inputs = _case(seed)
    nearest = round_weights(weights, bias, None)
    in_turn = round_weights(weights, bias, _moments(inputs[:2000]))
    assert _error(in_turn, weights, bias, inputs[2000:]) < 0.6 * _error(nearest, weights, bias, inputs[2000:])


def test_weights_make_good_what_the_layers_before_have_changed():
    weights, bias, inputs = _case(0)
    reduced = 0.9 * inputs + 0.3
    aware = round_weights(weights, bias, _moments(inputs, reduced))
    unaware = round_weights(weights, bias, _moments(inputs))
    expected = inputs @ weights.T + bias

    def error(rounded) -> float:
        answers = reduced @ (rounded.weights * rounded.scale[:, None]).T + rounded.bias
        return float(np.sqrt(np.mean((answers - expected) ** 2)))

    assert error(aware) < 0.5 * error(unaware)


def test_without_inputs_each_weight_is_rounded_by_itself():
    weights, bias, _ = _case(0)
    rounded = round_weights(weights, bias, None)
    assert np.abs(rounded.weights * rounded.scale[:, None] - weights).max() <= 0.501 * rounded.scale.max()
    np.testing.assert_allclose(rounded.bias, bias, rtol=1e-6)


@example(np.full((3, 5), 1e-45, np.float32), False)
@given(arrays(np.float32, (3, 5), elements=st.floats(-1e3, 1e3, width=32)), st.booleans())
def test_no_two_weights_of_a_filter_overflow_sixteen_bits(weights, seen):
    inputs = np.random.default_rng(0).normal(size=(50, 5)) if seen else None
    rounded = round_weights(weights, np.zeros(3, np.float32), None if inputs is None else _moments(inputs))
    two = np.sort(np.abs(rounded.weights.astype(int)), axis=1)[:, -2:]
    assert (255 * two.sum(axis=1) <= np.iinfo(np.int16).max).all()
    assert np.isfinite(rounded.scale).all()
    assert (rounded.scale > 0).all()


def test_one_large_weight_leaves_the_others_eight_bits():
    weights = np.full((1, 9), 0.1)
    weights[0, 4] = 10
    assert round_weights(weights, np.zeros(1), None).weights[0, 4] == 127
    weights[0, 5] = -10
    assert abs(round_weights(weights, np.zeros(1), None).weights).max() == 64


def test_inputs_that_never_differ_are_no_obstacle():
    weights, bias, _ = _case(1)
    dark = _moments(np.zeros((10, INPUTS)))
    nearest, rounded = round_weights(weights, bias, None), round_weights(weights, bias, dark)
    np.testing.assert_array_equal(rounded.weights, nearest.weights)
