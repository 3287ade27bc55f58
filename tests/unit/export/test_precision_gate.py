from dataclasses import replace

import numpy as np
import pytest

from ctcnet.errors import ParityError
from ctcnet.export.precision_gate import Gate, Recall, calibration_error, check_gate, compare
from ctcnet.runtime import Predictions

pytestmark = pytest.mark.unit

N = 2000


@pytest.fixture
def card(two_channel_card):
    return replace(two_channel_card, guard_band=0.02, unassigned_below=0.3)


def _answers(called: np.ndarray, certainty: float = 0.9) -> Predictions:
    p = np.full((len(called), 5), (1 - certainty) / 4, np.float32)
    p[np.arange(len(called)), called] = certainty
    return Predictions(p, np.zeros(len(called), bool), np.full(len(called), np.nan, np.float32), p)


def test_equal_answers_pass(card):
    labels = np.arange(N) % 5
    gate = compare(_answers(labels), _answers(labels), labels, card)
    assert gate.failures == ()
    assert gate.flips_inside == gate.flips_outside == 0
    contains_ctc = card.labels.rollup_mask("contains_ctc")
    assert set(gate.recalls) == {name for name, inside in zip(card.labels.classes, contains_ctc, strict=True) if inside}
    assert gate.recalls["ctc"] == Recall(1.0, 1.0, N // 5)


@pytest.mark.parametrize(("flips", "refused"), [(2, False), (3, True)])
def test_one_decision_in_a_thousand_may_differ(card, flips, refused):
    leukocyte, debris = (card.labels.index(name, where="test") for name in ("leukocyte", "debris"))
    called = np.full(N, leukocyte)
    other = called.copy()
    other[:flips] = debris
    gate = compare(_answers(called), _answers(other), None, card)
    assert gate.flips_outside == flips
    assert bool(gate.failures) == refused


def test_rare_class_is_judged_by_itself(card):
    ctc, leukocyte = (card.labels.index(name, where="test") for name in ("ctc", "leukocyte"))
    labels = np.full(100_000, leukocyte)
    labels[:400] = ctc
    other = labels.copy()
    other[:3] = leukocyte  # 0.75 points of 400, 0.03 in 1,000 decisions
    gate = compare(_answers(labels), _answers(other), labels, card)
    assert gate.flips_outside == 3
    assert len(gate.failures) == 1
    assert "recall of ctc falls from 1.0000 to 0.9925" in gate.failures[0]
    few = np.concatenate([labels[:10], labels[400:]])
    gate = compare(_answers(few), _answers(np.concatenate([other[:10], other[400:]])), few, card)
    assert gate.failures == (), "too few crops to judge a recall by"
    assert gate.recalls["ctc"].crops == 10


def test_crops_of_a_class_that_the_panel_cannot_tell_count_where_they_are_called(card):
    """Without a platelet channel a platelet cluster is called a CTC: its own recall would be 0 in every precision."""
    card = replace(card, folded={"ctc_platelet_cluster": "ctc"})
    ctc, platelet, leukocyte = (
        card.labels.index(name, where="test") for name in ("ctc", "ctc_platelet_cluster", "leukocyte")
    )
    labels = np.full(100_000, leukocyte)
    labels[:400] = platelet
    called = np.where(labels == platelet, ctc, labels)
    other = called.copy()
    other[:3] = leukocyte
    gate = compare(_answers(called), _answers(other), labels, card)
    assert gate.recalls == {"ctc": Recall(1.0, 0.9925, 400)}
    assert "recall of ctc falls" in gate.failures[0]


def test_flips_of_near_ties_are_in_the_guard_band(card):
    called = np.zeros(N, int)
    expected, found = _answers(called, 0.3), _answers(called, 0.3)
    expected.probabilities[:5, 1] = 0.29
    found.probabilities[:5, 1] = 0.31
    gate = compare(expected, found, None, card)
    assert (gate.flips_inside, gate.flips_outside) == (5, 0)


def test_calibration_error_is_that_of_a_plain_sum():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=5000).astype(np.float32)
    positive = rng.uniform(size=5000) < p**2
    place = np.minimum(np.floor(p * 15), 14)
    expected = sum(abs((p - positive)[place == k].sum()) for k in range(15)) / 5000
    assert calibration_error(p, positive) == pytest.approx(expected, rel=1e-6)
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0


def _gate(flips: int) -> Gate:
    return Gate(1000, 0, flips, 0.1, {}, None)


def test_layer_with_the_largest_effect_is_named():
    flips = {"a": 30, "b": 1, "c": 20}
    with pytest.raises(ParityError, match=r"--keep-float b \(40 decisions .* 1 without"):
        check_gate(_gate(40), list(flips), lambda kept: _gate(flips[next(iter(kept))]), "m.onnx")


def test_two_layers_are_named_where_one_is_not_enough():
    flips = {"a": 30, "b": 12, "c": 20}
    with pytest.raises(ParityError, match=r"no one layer is enough; begin with --keep-float b c"):
        check_gate(_gate(40), list(flips), lambda kept: _gate(flips[next(iter(kept))]), "m.onnx")


def test_number_of_tries_is_bounded():
    tried = []

    def judge(kept):
        tried.append(kept)
        return _gate(40)

    with pytest.raises(ParityError):
        check_gate(_gate(40), [f"layer{i}" for i in range(100)], judge, "m.onnx")
    assert len(tried) == 16
