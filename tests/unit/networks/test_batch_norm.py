"""Batch norm: as torch's in one process, and folded for deployment."""

import copy

import pytest
import torch
from torch import nn

from ctcnet.networks.batch_norm import BatchNorm2d, fold_batch_norm, synchronise_batch_norm

pytestmark = pytest.mark.unit


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3))


def _batch():
    return torch.randn(7, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 3 + 1


def test_one_process_is_torch_exactly():
    plain, synced = _network(), synchronise_batch_norm(_network())
    assert isinstance(synced[1], BatchNorm2d)
    x = _batch()
    for _ in range(2):
        assert torch.equal(plain(x), synced(x))
    assert torch.equal(plain.eval()(x), synced.eval()(x))
    assert plain.state_dict().keys() == synced.state_dict().keys()


def test_folding_keeps_the_answers_and_leaves_no_batch_norm():
    network = _network()
    for _ in range(3):
        network(_batch())
    with torch.no_grad():
        network[1].weight.uniform_(-2, 2)
        network[1].bias.normal_()
    network.eval()
    folded = fold_batch_norm(copy.deepcopy(network))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(_batch()), network(_batch()), rtol=1e-5, atol=1e-5)
