from dataclasses import replace

import numpy as np
import pytest
import torch

from ctcnet.model_card import fold_matrix
from ctcnet.networks.probabilities import Probabilities
from ctcnet.panel import load_panel
from ctcnet.pretrained import simulated_crops
from ctcnet.pretrained.calibration import (
    CARTRIDGE_SEED,
    CONFORMAL_ALPHA,
    GROUP_CROPS,
    GROUPS,
    LONE_CROPS_ALPHA,
    SEED,
    WHEN_MADE,
    calibrate,
    calibrated,
    folded_labels,
    folded_prior,
)
from ctcnet.pretrained.specialise import panel_network
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import StreamSettings, class_frequencies
from ctcnet.training.shipped_weights import read_shipped

pytestmark = pytest.mark.unit


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
    np.testing.assert_allclose(found, calibrated(logits, 1.5, fold), atol=1e-6)
    assert folded_labels(np.array([ctc, cluster, 4]), fold).tolist() == [ctc, ctc, 4]
    assert folded_prior([0.1, 0.2, 0.3, 0.25, 0.15], fold)[[ctc, cluster]] == pytest.approx([0.35, 0.0])


def test_shipped_panels_have_crops_enough_to_know_coverage_within_a_point():
    held = sum(piece % WHEN_MADE.fitted_every != 0 for piece in range(WHEN_MADE.pieces))
    shares = class_frequencies(StreamSettings((), 64, 0.6, groups=GROUPS, group_crops=GROUP_CROPS))
    assert min(shares) * held * GROUPS * GROUP_CROPS >= 3600


def test_crops_to_judge_by_are_not_those_that_answers_were_fitted_to():
    assert simulated_crops.SEED not in (SEED, CARTRIDGE_SEED)


def test_lone_crops_have_an_alpha_of_their_own(shipped_models):
    shipped = read_shipped(shipped_models / "ctcnet-s")
    for name, mode, alpha in (
        ("rgb_merge", "per_crop", LONE_CROPS_ALPHA),
        ("cellsearch4", "cartridge", CONFORMAL_ALPHA),
    ):
        panel = load_panel(name).network_panel()
        found = calibrate(shipped.card, panel_network(shipped, panel, mode), panel, mode)
        assert found.conformal.alpha == alpha
    assert LONE_CROPS_ALPHA[CLASSES.index("leukocyte")] == 10 * CONFORMAL_ALPHA[CLASSES.index("leukocyte")]
