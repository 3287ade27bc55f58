"""The peer that reconstructs: its deployed form, and the loss that it adds."""

from __future__ import annotations

import pytest
import torch
from encoder_classifier import NAME

from ctcnet.networks import build_classifier

pytestmark = pytest.mark.unit

ROLES = ("nucleus", "epithelial")


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.rand((3, 2, 64, 64), generator=torch.Generator().manual_seed(0)) * 4


def test_deployed_answers_are_those_of_the_trained_network(crops: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = build_classifier(NAME, ROLES, 5)
    network(crops)  # running statistics of batch norm away from their start
    network.eval()

    with torch.no_grad():
        torch.testing.assert_close(network.deployable()(crops).logits, network(crops).logits, atol=1e-5, rtol=1e-5)


def test_the_decoder_learns_from_reconstruction_and_the_encoder_from_both(crops: torch.Tensor) -> None:
    torch.manual_seed(0)
    backbone = build_classifier(NAME, ROLES, 5).backbone
    code = backbone(crops)
    code.sum().backward()
    both = backbone.convolutions[2].weight.grad.clone()
    decoded = backbone.decoder[0].weight.grad.clone()

    backbone.zero_grad()
    plain = backbone.code(backbone.convolutions(backbone.stem(crops)))
    (plain.sum() + backbone.reconstruction_loss(crops, plain)).backward()
    torch.testing.assert_close(backbone.convolutions[2].weight.grad, both)
    torch.testing.assert_close(backbone.decoder[0].weight.grad, decoded)
    assert decoded.abs().sum() > 0
