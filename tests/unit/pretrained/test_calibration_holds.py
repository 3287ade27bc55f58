"""Conformal sets and atypicality hold as stated on the crops that nothing else was fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctcnet.model_card import fold_matrix
from ctcnet.panel import load_panel
from ctcnet.pretrained.calibration import (
    SEED,
    calibrate,
    calibrated,
    calibration_crops,
    folded_labels,
    untold_classes,
)
from ctcnet.pretrained.specialise import panel_network
from ctcnet.simulate.composition import CLASSES
from ctcnet.training.shipped_weights import read_shipped
from ctcnet.uncertainty import QUANTILE

pytestmark = pytest.mark.unit

CONTAINS_CTC = np.array([name.startswith("ctc") for name in CLASSES])
PANEL = load_panel("cellsearch4").network_panel()


@pytest.fixture
def fitted(shipped_models):
    """A calibration of a panel without platelets, and the crops that it was fitted to: the first of two pieces by
    themselves, then the other."""
    shipped = read_shipped(shipped_models / "ctcnet-s")
    network = panel_network(shipped, PANEL, "cartridge")
    crops = calibration_crops(shipped.card, network, PANEL, "cartridge", seed=SEED, pieces=2)
    return calibrate(shipped.card, network, PANEL, "cartridge"), crops


def test_sets_and_atypicality_leave_out_the_stated_share_of_the_second_piece(fitted):
    calibration, crops = fitted
    held = crops.piece == 1
    fold = fold_matrix(CLASSES, untold_classes(PANEL))
    labels = folded_labels(crops.labels[held], fold)
    probabilities = calibrated(crops.features.logits[held], calibration.temperature, fold)
    probabilities = calibration.ctc_log_odds.apply(probabilities, CONTAINS_CTC).astype(np.float32)
    conformal = calibration.conformal
    assert np.bincount(labels, minlength=len(CLASSES)).tolist() == list(conformal.calibration_crops)
    for k, (alpha, threshold) in enumerate(zip(conformal.alpha, conformal.thresholds, strict=True)):
        own = probabilities[labels == k, k]
        if len(own):
            assert (own < np.float32(threshold)).sum() == int((len(own) + 1) * alpha) - 1
        else:
            assert threshold == 1

    features = (torch.from_numpy(getattr(crops.features, name)[held]) for name in ("embedding", "statistics"))
    with torch.inference_mode():
        score = calibration.atypicality.score(*features).numpy()
    assert (score > 1).sum() == int(np.ceil(len(score) * (1 - QUANTILE)))
