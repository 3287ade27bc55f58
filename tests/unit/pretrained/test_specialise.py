import numpy as np
import pytest
import torch

from ctcnet.errors import ModelFileError, ModelPanelError
from ctcnet.export.parity import random_crops
from ctcnet.panel import Channel, Panel, load_panel
from ctcnet.pretrained.specialise import panel_network, specialise
from ctcnet.pretrained.universal_network import build_universal, logits_of_parts
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import Part
from ctcnet.training.shipped_weights import read_shipped
from ctcnet.training.starting_weights import specialised_state

pytestmark = pytest.mark.unit

THREE_CK = Panel(
    "three_ck",
    tuple(Channel(name, role) for name, role in (("D", "nucleus"), *((f"K{k}", "epithelial") for k in range(3)))),
    12,
)


@pytest.fixture
def shipped(shipped_models):
    return read_shipped(shipped_models / "ctcnet-s")


@pytest.mark.parametrize("panel", [load_panel("ctc5"), load_panel("cellsearch4").network_panel(), THREE_CK])
def test_network_of_a_panel_answers_as_the_universal_one(shipped, panel):
    universal = build_universal(5)
    state = dict(shipped.weights["cartridge"])
    for name in state:
        if "deviation" in name:
            state[name] = torch.full_like(state[name], 0.01)
    universal.load_state_dict(state)
    network = panel_network(shipped, panel, "cartridge")
    network.load_state_dict(specialised_state(state, network))
    x = torch.randn(4, len(panel.channels), 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = logits_of_parts(universal.eval(), [Part(x, panel.roles, torch.zeros(4))])
        torch.testing.assert_close(network(x).logits, wanted, atol=1e-5, rtol=1e-4)


def test_predictor_takes_crops_of_the_panel(shipped):
    predictor = specialise(shipped, load_panel("cellsearch4"))
    card = predictor.card
    assert "none" not in card.panel.roles
    assert card.normalization.mode == "cartridge"
    assert any("no platelet marker" in limit for limit in card.limits)
    crops = np.random.default_rng(0).integers(0, 4000, (3, len(card.panel.channels), 32, 32)).astype(np.uint16)
    np.testing.assert_allclose(predictor.predict(crops).probabilities.sum(axis=1), 1, atol=1e-5)


def test_same_panel_gives_the_same_card_and_the_same_answers(shipped):
    first, second = (specialise(shipped, load_panel("rgb_merge")) for _ in range(2))
    assert first.card == second.card
    assert first.card.normalization.mode == "per_crop"
    crops = random_crops(first.card, 16, np.random.default_rng(0))
    answers, again = first.predict(crops), second.predict(crops)
    np.testing.assert_array_equal(answers.probabilities, again.probabilities)
    np.testing.assert_array_equal(answers.atypicality, again.atypicality)
    assert np.isfinite(answers.atypicality).all()


def test_calibration_gives_every_class_a_finite_threshold(shipped):
    conformal = specialise(shipped, THREE_CK).card.conformal
    told = [crops for crops, name in zip(conformal.calibration_crops, CLASSES, strict=True) if "platelet" not in name]
    assert min(told) >= 10
    assert min(conformal.thresholds) > 0


def test_without_a_platelet_marker_no_platelet_cluster_is_called(shipped):
    predictor = specialise(shipped, THREE_CK)
    cluster = CLASSES.index("ctc_platelet_cluster")
    assert predictor.card.folded == {"ctc_platelet_cluster": "ctc"}
    assert predictor.card.training_prior[cluster] == 0
    crops = random_crops(predictor.card, 32, np.random.default_rng(0))
    assert (predictor.predict(crops).probabilities[:, cluster] == 0).all()
    assert specialise(shipped, load_panel("ctc5")).card.folded is None


def test_panel_without_a_nucleus_is_refused_with_what_would_be_lost(shipped):
    panel = Panel("no_dna", (Channel("CK", "epithelial"), Channel("X", "none")), 12)
    with pytest.raises(ModelPanelError, match="role nucleus is missing, and every class would be lost") as caught:
        specialise(shipped, panel)
    assert caught.value.found == "CK (epithelial)"


def test_weights_of_another_network_are_refused(shipped):
    network = panel_network(shipped, THREE_CK, "cartridge")
    state = {name: value for name, value in shipped.weights["cartridge"].items() if "filters.nucleus" not in name}
    with pytest.raises(ModelFileError, match="do not fit"):
        specialised_state(state, network)
