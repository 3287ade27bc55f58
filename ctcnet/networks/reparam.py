"""Convolutions with training branches that merge into one plain convolution (RepVGG, Ding et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

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
        merged = fuse_conv_bn_eval(self.conv3, self.norm3)
        point = fuse_conv_bn_eval(self.conv1, self.norm1)
        assert merged.bias is not None
        assert point.bias is not None
        merged.weight += F.pad(point.weight, (1, 1, 1, 1))
        merged.bias += point.bias
        if self.norm_identity is not None:
            norm = self.norm_identity
            assert norm.running_mean is not None
            assert norm.running_var is not None
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            merged.weight[:, :, 1, 1] += torch.diag(gain)
            merged.bias += norm.bias - norm.running_mean * gain
        return merged


def merge_branches(layers: nn.Sequential) -> nn.Sequential:
    """The same layers with every `BranchedConv` merged and every activation as one operator; others are shared."""
    return nn.Sequential(*[_merged(layer) for layer in layers])


def _merged(layer: nn.Module) -> nn.Module:
    if isinstance(layer, BranchedConv):
        return layer.merged()
    return layer.deployable() if isinstance(layer, BoundedReLU) else layer
