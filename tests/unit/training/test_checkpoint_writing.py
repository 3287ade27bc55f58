from dataclasses import replace

import numpy as np
import pytest
import torch

from ctcnet.errors import ModelFileError, OutputError
from ctcnet.model_card import ConformalCard
from ctcnet.networks import build_classifier
from ctcnet.runtime.cartridge_atypicality import fit_cartridges
from ctcnet.training.checkpoint import check_weights, load_classifier, whole_checkpoint, write_model
from ctcnet.training.torch_predictor import TorchPredictor
from ctcnet.uncertainty import fit_atypicality, typical_features

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("cause", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 12 vs 4")])
def test_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, cause):
    path = tmp_path / "last.ckpt"
    path.write_text("old")

    def write():
        with whole_checkpoint(path) as part:
            part.write_text("half")
            raise cause

    with pytest.raises(OutputError, match="could not be written"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_are_compared_by_name_and_shape():
    wanted = {"a": torch.zeros(2), "b": torch.zeros(3)}
    check_weights({"a": torch.ones(2), "b": torch.ones(3)}, wanted, "x.ckpt")
    for found in ({"a": torch.ones(2)}, {**wanted, "c": torch.ones(1)}, {**wanted, "a": torch.ones(4)}, None, {"a": 1}):
        with pytest.raises(ModelFileError, match=r"x\.ckpt"):
            check_weights(found, wanted, "x.ckpt")


@pytest.mark.parametrize("uncertain", [False, True])
def test_checkpoint_brings_back_what_the_model_does_not_know(tmp_path, two_channel_card, uncertain):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    card = replace(two_channel_card, crop_size_px=16)
    network = build_classifier(card.backbone, card.panel.roles, 5).eval()
    extra = {}
    if uncertain:
        found = typical_features(network, torch.rand(600, 2, 16, 16).split(200))
        card = replace(
            card, conformal=ConformalCard((0.1,) * 5, (0.1, 0.2, 0.2, 0.2, 0.2), (9,) * 5), atypicality_quantile=0.998
        )
        extra["atypicality"] = fit_atypicality(found.embedding, found.statistics, np.arange(600) % 5)
        rng = np.random.default_rng(0)
        extra["cartridge_reference"] = fit_cartridges(list(rng.normal(size=(40, 2 * network.head.in_features))))
    before = TorchPredictor(network, card, **extra)
    write_model(tmp_path / "best.ckpt", network, card, 0, 0, **extra)
    after = load_classifier(tmp_path / "best.ckpt")
    assert after.card == card
    assert (after.cartridge_reference is None) != uncertain
    crops = np.random.default_rng(1).integers(50, 600, (9, 2, 16, 16)).astype(np.uint16)
    for expected, answer in zip(before.predict(crops), after.predict(crops), strict=True):
        np.testing.assert_array_equal(answer, expected)
    assert np.isnan(after.predict(crops).atypicality).all() != uncertain
