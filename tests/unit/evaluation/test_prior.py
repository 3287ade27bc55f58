import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_factory import FIVE

from ctcnet.errors import SettingError, StatisticsError
from ctcnet.evaluation.prior import parse_prior, restate_prior

pytestmark = pytest.mark.unit
TRAINING = [0.1, 0.4, 0.1, 0.2, 0.2]


def test_odds_shift_by_the_ratio_of_the_priors():
    found = restate_prior(np.array([[0.9, 0.1]]), [0.5, 0.5], [1e-5, 1 - 1e-5])
    assert found[0, 0] / found[0, 1] == pytest.approx(9 * 1e-5 / (1 - 1e-5))


@settings(max_examples=30)
@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_there_and_back_again(old, new):
    old, new = np.array(old) / sum(old), np.array(new) / sum(new)
    p = np.array([[0.1, 0.2, 0.3, 0.4], [0.97, 0.01, 0.01, 0.01]])
    np.testing.assert_allclose(restate_prior(restate_prior(p, old, new), new, old), p, rtol=1e-9)
    np.testing.assert_allclose(restate_prior(p, old, old), p, rtol=1e-9)


def test_class_never_trained_cannot_be_restated():
    with pytest.raises(StatisticsError, match="prior 0"):
        restate_prior(np.array([[0.5, 0.5]]), [0, 1], [0.5, 0.5])


def test_rollup_keeps_proportions_inside_and_outside():
    prior = parse_prior("contains_ctc=1e-5", FIVE, TRAINING)
    inside = FIVE.rollup_mask("contains_ctc")
    assert prior[inside].sum() == pytest.approx(1e-5)
    assert prior.sum() == pytest.approx(1)
    assert prior[3] / prior[0] == pytest.approx(2)
    assert prior[1] / prior[4] == pytest.approx(2)


def test_prior_of_every_class():
    text = "debris=0.2, ctc=0.1,leukocyte=0.5,ctc_neutrophil_cluster=0.1,ctc_platelet_cluster=0.1"
    assert parse_prior(text, FIVE, TRAINING) == pytest.approx([0.1, 0.5, 0.1, 0.1, 0.2])


@pytest.mark.parametrize(
    "text",
    ["", "ctc", "ctc=x", "ctc=0.5", "contains_ctc=2", "contains_ctc=0", "ctc=0.1,ctc=0.9", "ctc=nan", "unknown=0.1",
     "ctc=0.1,leukocyte=0.1,ctc_neutrophil_cluster=0.1,ctc_platelet_cluster=0.1,debris=0.1"],
)  # fmt: skip
def test_bad_priors_are_refused(text):
    with pytest.raises(SettingError, match="--prior"):
        parse_prior(text, FIVE, TRAINING)


def test_a_class_that_the_model_never_calls_has_no_prior():
    told = [name for name in FIVE.classes if name != "ctc_platelet_cluster"]
    text = ",".join(f"{name}=0.25" for name in told)
    training = [0.25 * (name in told) for name in FIVE.classes]
    prior = parse_prior(text, FIVE, training)
    assert prior[FIVE.classes.index("ctc_platelet_cluster")] == 0
    assert prior.sum() == pytest.approx(1)
    with pytest.raises(SettingError, match="every class that the model tells"):
        parse_prior(text, FIVE, TRAINING)
    with pytest.raises(SettingError) as refused:
        parse_prior(text.replace("debris=0.25", "debris=0.15,ctc_platelet_cluster=0.1"), FIVE, training)
    assert "ctc_platelet_cluster" not in (refused.value.expected or "")
