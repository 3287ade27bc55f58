"""Convolutions with training branches that merge into one plain convolution (RepVGG, Ding et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.networks.batch_norm import BatchNorm2d
from ctcnet.networks.bounded_relu import BoundedReLU


class BranchedConv(nn.Module):
    """Sum of a 3 x 3 branch, a 1 x 1 branch and, where shapes allow, an identity branch, each with its batch norm.

    Args:
        in_channels, out_channels: widths.
        stride: 1 or 2.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv3 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm3 = BatchNorm2d(out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, stride, 0, bias=False)
        self.norm1 = BatchNorm2d(out_channels)
        same_shape = stride == 1 and in_channels == out_channels
        self.norm_identity = BatchNorm2d(out_channels) if same_shape else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        out = self.norm3(self.conv3(x)) + self.norm1(self.conv1(x))
        return out if self.norm_identity is None else out + self.norm_identity(x)

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """One 3 x 3 convolution with the same answers in evaluation; needs evaluation mode."""
        merged = nn.Conv2d(self.conv3.in_channels, self.conv3.out_channels, 3, self.stride, 1, device="meta")
        norms = [norm for norm in (self.norm3, self.norm1, self.norm_identity) if norm is not None]
        merged.weight = nn.Parameter(self.merged_weight())
        merged.bias = nn.Parameter(torch.stack([_offset(norm) for norm in norms]).sum(0))
        return merged.eval()

    def merged_weight(self) -> Tensor:
        """Weight (out_channels, in_channels, 3, 3) of `merged`, of which gradients can be taken."""
        weight = self.conv3.weight * _gain(self.norm3)[:, None, None, None]
        point = self.conv1.weight * _gain(self.norm1)[:, None, None, None]
        if self.norm_identity is not None:
            point = point + torch.diag(_gain(self.norm_identity))[:, :, None, None]
        return weight + F.pad(point, (1, 1, 1, 1))


def _gain(norm: BatchNorm2d) -> Tensor:
    """(C,) factor by which a batch norm multiplies in evaluation."""
    assert norm.running_var is not None
    return norm.weight / torch.sqrt(norm.running_var + norm.eps)


def _offset(norm: BatchNorm2d) -> Tensor:
    """(C,) what a batch norm adds in evaluation."""
    assert norm.running_mean is not None
    return norm.bias - norm.running_mean * _gain(norm)


def weight_range_excess(network: nn.Module, limit: float) -> Tensor:
    """How far merged weights lie beyond a range, to be kept small in training for the sake of INT8.

    An identity branch makes one weight of a filter many times as large as the others, and one scale for the filter then
    leaves those few steps of 8 bits.

    Args:
        network: with `BranchedConv` layers.
        limit: largest size of a weight, in root mean squares of its filter.

    Returns:
        0-dimensional: sum over layers of the mean over filters of the sum of squares of what exceeds the limit, in
        units of the limit.
    """
    excess = torch.zeros((), device=next(network.parameters()).device)
    for layer in network.modules():
        if isinstance(layer, BranchedConv):
            filters = layer.merged_weight().float().flatten(1)
            size = filters.square().mean(1, keepdim=True).sqrt()
            excess = excess + F.relu(filters.abs() / (limit * size) - 1).square().sum(1).mean()
    return excess


def merge_branches(layers: nn.Sequential) -> nn.Sequential:
    """The same layers with every `BranchedConv` merged and every activation as one operator; others are shared."""
    return nn.Sequential(*[_merged(layer) for layer in layers])


def _merged(layer: nn.Module) -> nn.Module:
    if isinstance(layer, BranchedConv):
        return layer.merged()
    return layer.deployable() if isinstance(layer, BoundedReLU) else layer
