import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from ctcnet.errors import ModelFileError
from ctcnet.evaluation.prior import restate_prior
from ctcnet.log_odds import LogOddsShift, group_log_odds
from ctcnet.model_card_reading import card_from_dict
from ctcnet.networks.probabilities import GroupShift, Probabilities
from ctcnet.pretrained.calibration import calibrated

pytestmark = pytest.mark.unit

INSIDE = np.array([True, False, True, True, False])
SHIFT = LogOddsShift((-6.0, -2.0, 0.0, 4.0), (-1.0, 0.25, 0.25, 1.5))

rows = st.lists(st.floats(-30, 30), min_size=5, max_size=5)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@given(st.lists(rows, min_size=1, max_size=20))
def test_log_odds_move_by_the_shift_and_nothing_else_changes(logits):
    p = _softmax(np.array(logits))
    found = SHIFT.apply(p, INSIDE)
    before, after = group_log_odds(p, INSIDE), group_log_odds(found, INSIDE)
    np.testing.assert_allclose(after - before, SHIFT.of(before), atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    for side in (INSIDE, ~INSIDE):
        share = p[:, side] / p[:, side].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found[:, side], share * found[:, side].sum(axis=1, keepdims=True), rtol=1e-9)
    order = np.argsort(before)
    assert (np.diff(after[order]) >= -1e-9).all()


@given(st.lists(rows, min_size=1, max_size=20))
def test_operators_of_the_graph_give_the_same(logits):
    p = _softmax(np.array(logits)).astype(np.float32)
    found = GroupShift(SHIFT, INSIDE)(torch.from_numpy(p)).numpy()
    np.testing.assert_allclose(found, SHIFT.apply(p, INSIDE), atol=2e-6, rtol=1e-4)


def test_ends_of_the_scale():
    p = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0.5, 0, 0, 0.5], [np.nan] * 5], dtype=np.float32)
    torch_found = GroupShift(SHIFT, INSIDE)(torch.from_numpy(p)).numpy()
    for found in (SHIFT.apply(p, INSIDE), torch_found):
        np.testing.assert_array_equal(found, p)


def test_probabilities_of_a_card_with_a_shift(two_channel_card):
    card = replace(two_channel_card, ctc_log_odds=SHIFT)
    logits = np.random.default_rng(0).normal(0, 5, (200, 5)).astype(np.float32)
    inside = np.asarray(card.labels.rollup_mask("contains_ctc"))
    found = Probabilities(card)(torch.from_numpy(logits)).numpy()
    expected = SHIFT.apply(calibrated(logits, card.temperature), inside)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    plain = Probabilities(two_channel_card)(torch.from_numpy(logits)).numpy()
    assert np.abs(found - plain).max() > 0.05


def test_shifting_and_restating_the_prior_commute_where_the_shift_is_constant():
    """Beyond the last knot odds are multiplied, as by a prior, so that the order of both makes no difference."""
    p = _softmax(np.random.default_rng(1).normal(0, 1, (50, 5)) + np.where(INSIDE, 8.0, 0.0))
    old, new = np.full(5, 0.2), np.array([0.05, 0.4, 0.05, 0.05, 0.45])
    shifted = group_log_odds(restate_prior(SHIFT.apply(p, INSIDE), old, new), INSIDE)
    np.testing.assert_allclose(shifted - group_log_odds(restate_prior(p, old, new), INSIDE), 1.5, atol=1e-9)


def test_log_odds_of_p_next_to_one_keep_their_digits():
    small = np.array([1e-30, 1e-12, 1e-3])
    p = np.stack([1 - small, small], axis=1)
    np.testing.assert_allclose(group_log_odds(p, np.array([False, True])), logit(small), rtol=1e-9)
    np.testing.assert_allclose(expit(-group_log_odds(p, np.array([True, False]))), small, rtol=1e-6)


def test_a_shift_survives_json_and_stands_on_the_page(two_channel_card):
    card = replace(two_channel_card, ctc_log_odds=SHIFT)
    assert card_from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert "| Log-odds of P(contains a CTC) | shifted by -1.00 at -6, +0.25 at -2," in card.to_markdown()
    assert "ctc_log_odds" not in two_channel_card.to_dict()


@pytest.mark.parametrize(
    "shift",
    [
        LogOddsShift((0.0,), (1.0,)),
        LogOddsShift((), ()),
        LogOddsShift((0.0, 1.0), (1.0,)),
        LogOddsShift((1.0, 0.0), (0.0, 0.0)),
        LogOddsShift((0.0, 1.0), (0.0, -1.0)),
        LogOddsShift((0.0, float("inf")), (0.0, 0.0)),
        LogOddsShift((0.0, 1.0), (0.0, float("nan"))),
    ],
)
def test_a_shift_that_does_not_keep_the_order_is_refused(two_channel_card, shift):
    with pytest.raises(ModelFileError, match="contradicts"):
        card_from_dict(replace(two_channel_card, ctc_log_odds=shift).to_dict())


@pytest.mark.parametrize(
    "content", [[1], {"knots": [0, 1]}, {"knots": 0, "shifts": 1}, {"knots": ["a"], "shifts": [1]}]
)
def test_a_malformed_shift_is_refused(two_channel_card, content):
    with pytest.raises(ModelFileError, match="malformed"):
        card_from_dict({**two_channel_card.to_dict(), "ctc_log_odds": content})


def test_a_shift_needs_classes_on_both_sides(two_channel_card):
    labels = replace(two_channel_card.labels, rollups={})
    with pytest.raises(ModelFileError, match="contradicts"):
        card_from_dict(replace(two_channel_card, labels=labels, ctc_log_odds=SHIFT).to_dict())
