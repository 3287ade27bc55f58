from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ctcnet.errors import SettingError
from ctcnet.training.losses import ImbalanceLoss, LossSettings

pytestmark = pytest.mark.unit

CROPS = torch.tensor([900.0, 90.0, 10.0])


def mean_loss(loss: ImbalanceLoss, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    total, weight = loss(logits, target, torch.ones(len(logits)))
    return total / weight


def test_plain_settings_are_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 3), torch.randint(0, 3, (20,))
    loss = ImbalanceLoss(LossSettings(tau=0, label_smoothing=0.1), CROPS)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.allclose(mean_loss(loss, logits, F.one_hot(labels, 3).float()), expected)


def test_focal_against_its_formula() -> None:
    logits, target = torch.tensor([[1.0, 0.2, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    p = logits.softmax(1)[0, 1]
    loss = ImbalanceLoss(LossSettings(tau=0, focal_gamma=2), CROPS)
    assert torch.allclose(mean_loss(loss, logits, target), -((1 - p) ** 2) * p.log())


@settings(max_examples=20)
@given(
    tau=st.sampled_from([0.0, 0.5, 1.0, 1.5]),
    weighting=st.sampled_from(["none", "inverse", "effective_number"]),
    decision=st.sampled_from(["training", "balanced", "as_taught"]),
)
def test_bias_states_the_prior(tau: float, weighting: str, decision) -> None:
    """Where crops carry no information, the logits that give the stated prior after the bias are the loss's minimum."""
    loss = ImbalanceLoss(LossSettings(tau=tau, weighting=weighting), CROPS)  # type: ignore[arg-type]
    logits = loss.stated_prior(decision).log().float() - loss.logit_bias(decision)
    logits.requires_grad_(True)
    total, _ = loss(logits.expand(3, 3), torch.eye(3), CROPS / CROPS.sum())
    total.backward()
    assert torch.allclose(logits.grad, torch.zeros(3), atol=1e-6)  # pyright: ignore


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("tau", [0.0, 1.0])
@pytest.mark.parametrize("weighting", ["none", "inverse"])
def test_answers_at_the_target_prior_teach_what_labels_teach(share: float, tau: float, weighting: str) -> None:
    """Where crops carry no information, a teacher who knows that moves no minimum."""
    loss = ImbalanceLoss(LossSettings(tau=tau, weighting=weighting), CROPS)  # type: ignore[arg-type]
    logits = loss.stated_prior("training").log().float() - loss.logit_bias("training")
    logits.requires_grad_(True)
    labels = torch.eye(3)
    target = (1 - share) * labels + share * loss.target_prior().float()
    total, _ = loss(logits.expand(3, 3), target, CROPS / CROPS.sum(), labels)
    total.backward()
    assert torch.allclose(logits.grad, torch.zeros(3), atol=1e-6)  # pyright: ignore


def test_stated_priors() -> None:
    loss = ImbalanceLoss(LossSettings(tau=1), CROPS)
    assert torch.allclose(loss.stated_prior("training").float(), CROPS / 1000)
    assert torch.allclose(loss.stated_prior("balanced").float(), torch.full((3,), 1 / 3))
    assert torch.allclose(loss.stated_prior("as_taught").float(), torch.full((3,), 1 / 3))
    assert torch.allclose(loss.logit_bias("as_taught"), torch.zeros(3), atol=1e-6)
    half = ImbalanceLoss(LossSettings(tau=0.5), CROPS).stated_prior("as_taught").float()
    assert torch.allclose(half, CROPS.sqrt() / CROPS.sqrt().sum())


def test_crop_weights_count_in_proportion() -> None:
    loss = ImbalanceLoss(LossSettings(), CROPS)
    logits, target = torch.randn(2, 3), torch.eye(3)[:2]
    total, weight = loss(logits, target, torch.tensor([2.0, 0.0]))
    alone, _ = loss(logits[:1], target[:1], torch.ones(1))
    assert float(weight) == 2
    assert torch.allclose(total, 2 * alone)


@pytest.mark.parametrize("setting", [{"tau": -1.0}, {"beta": 1.0}, {"label_smoothing": 1.0}, {"focal_gamma": -1.0}])
def test_loss_settings_out_of_range(setting: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting))):
        LossSettings(**setting)


def test_class_whose_crops_weigh_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="weight above 0"):
        ImbalanceLoss(LossSettings(), torch.tensor([900.0, 0.0, 10.0]))
