from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from ctcnet.model_card import fold_matrix
from ctcnet.networks.probabilities import Probabilities
from ctcnet.pretrained.calibration import calibrated, fit_probabilities, folded_labels, folded_prior

pytestmark = pytest.mark.unit

PRIOR = np.array([0.5, 0.3, 0.2])


def _logits_and_labels(count: int, wrong: float, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from softmax(logits), a share of them from the prior instead; logits stretched afterwards."""
    rng = np.random.default_rng(3)
    logits = 4 * rng.normal(size=(count, 3)) + np.log(PRIOR)
    p = softmax(logits, axis=1)
    labels = (rng.random((count, 1)) > p.cumsum(1)[:, :-1]).sum(1)
    swapped = rng.random(count) < wrong
    labels[swapped] = rng.choice(3, swapped.sum(), p=PRIOR)
    return logits * stretch, labels


@pytest.mark.parametrize(("wrong", "stretch"), [(0.05, 1.5), (0.15, 0.8), (0.0, 2.0)])
def test_temperature_and_share_of_the_prior_are_found_again(wrong, stretch):
    logits, labels = _logits_and_labels(40_000, wrong, stretch)
    temperature, share = fit_probabilities(logits, labels, PRIOR)
    assert temperature == pytest.approx(stretch, rel=0.1)
    assert share == pytest.approx(wrong, abs=0.01)


def test_torch_and_numpy_agree_and_the_share_bounds_the_answers(two_channel_card):
    logits = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32) * 30
    card = replace(two_channel_card, temperature=1.3, prior_share=0.02)
    found = Probabilities(card)(torch.from_numpy(logits)).numpy()
    prior = np.array(card.training_prior)
    np.testing.assert_allclose(found, calibrated(logits, 1.3, 0.02, prior), atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert (found >= 0.02 * prior - 1e-7).all()


def test_a_class_that_cannot_be_told_is_called_what_it_is_folded_into(two_channel_card):
    logits = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    classes = two_channel_card.labels.classes
    folded = {"ctc_platelet_cluster": "ctc"}
    plain = Probabilities(two_channel_card)(torch.from_numpy(logits)).numpy()
    found = Probabilities(replace(two_channel_card, folded=folded))(torch.from_numpy(logits)).numpy()
    ctc, cluster = classes.index("ctc"), classes.index("ctc_platelet_cluster")
    np.testing.assert_allclose(found[:, ctc], plain[:, ctc] + plain[:, cluster], rtol=1e-6)
    assert (found[:, cluster] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    fold = fold_matrix(classes, folded)
    np.testing.assert_allclose(found, calibrated(logits, 1.5, 0.0, np.full(5, 0.2), fold), atol=1e-6)
    assert folded_labels(np.array([ctc, cluster, 4]), fold).tolist() == [ctc, ctc, 4]
    assert folded_prior([0.1, 0.2, 0.3, 0.25, 0.15], fold)[[ctc, cluster]] == pytest.approx([0.35, 0.0])
