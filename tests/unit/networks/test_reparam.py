import pytest
import torch
from torch import nn

from ctcnet.networks.reparam import BranchedConv, merge_branches, weight_range_excess

pytestmark = pytest.mark.unit


def _trained(in_channels: int, out_channels: int, stride: int) -> BranchedConv:
    """A branched convolution whose batch norms have seen a few batches."""
    torch.manual_seed(0)
    layer = BranchedConv(in_channels, out_channels, stride).train()
    for _ in range(5):
        layer(torch.randn(8, in_channels, 12, 12) + 0.5)
    return layer.eval()


@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), [(8, 8, 1), (4, 8, 2), (8, 8, 2)])
def test_the_merged_convolution_answers_as_its_branches(in_channels, out_channels, stride):
    layer, x = _trained(in_channels, out_channels, stride), torch.randn(2, in_channels, 12, 12)
    merged = merge_branches(nn.Sequential(layer))[0]
    assert isinstance(merged, nn.Conv2d)
    with torch.no_grad():
        torch.testing.assert_close(merged(x), layer(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(merged.weight, layer.merged_weight())


def test_weights_within_the_range_cost_nothing_and_those_beyond_as_stated():
    layer = _trained(8, 8, 1)
    filters = layer.merged_weight().detach().flatten(1)
    size = filters.square().mean(1, keepdim=True).sqrt()
    largest = float((filters.abs() / size).max())
    assert weight_range_excess(nn.Sequential(layer), largest * 1.001).item() == 0
    limit = largest / 2
    expected = ((filters.abs() / (limit * size) - 1).clamp(min=0) ** 2).sum(1).mean()
    found = weight_range_excess(nn.Sequential(layer, nn.ReLU()), limit)
    assert found.item() == pytest.approx(float(expected), rel=1e-5)


def test_descending_the_excess_narrows_the_weights():
    layer = _trained(8, 8, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.05)

    def widest() -> float:
        filters = layer.merged_weight().detach().flatten(1)
        return float((filters.abs().amax(1) / filters.square().mean(1).sqrt()).max())

    before = widest()
    for _ in range(50):
        optimizer.zero_grad()
        weight_range_excess(layer, 2.5).backward()
        optimizer.step()
    assert widest() < 0.8 * before
