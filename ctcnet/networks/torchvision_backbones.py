"""Torchvision backbones, untrained, with the panel-aware stem in place of their first convolution."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ctcnet.extras import import_extra
from ctcnet.networks.backbone import Backbone
from ctcnet.networks.batch_norm import fold_batch_norm, synchronise_batch_norm
from ctcnet.networks.registry import register_backbone
from ctcnet.networks.stem import PanelStem


class TorchvisionBackbone(Backbone):
    """A torchvision model without its classes.

    Args:
        trunk: the model, returning embeddings (N, D).
        first_conv: dotted name of its first convolution, which must be square and without dilation or groups.
        roles: role of each channel.
        embedding_dim: D.
    """

    def __init__(self, trunk: nn.Module, first_conv: str, roles: Sequence[str], embedding_dim: int) -> None:
        super().__init__()
        conv = trunk.get_submodule(first_conv)
        assert isinstance(conv, nn.Conv2d)
        size, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
        assert isinstance(padding, int)
        self.stem = PanelStem(roles, conv.out_channels, size, stride, padding)
        self.trunk = synchronise_batch_norm(trunk)
        self.first_conv = first_conv
        self.embedding_dim = embedding_dim
        self.trunk.set_submodule(first_conv, nn.Identity())

    def forward(self, x: Tensor, presence: Tensor | None = None, sample_seed: Tensor | None = None) -> Tensor:
        return self.trunk(self.stem(x, presence))

    def deployable(self) -> nn.Module:
        trunk = copy.deepcopy(self.trunk).eval()
        trunk.set_submodule(self.first_conv, self.stem.specialise().eval())
        return fold_batch_norm(trunk)


def _models() -> Any:
    """`torchvision.models`, imported where one is built: the compact network does without, and so does a scan."""
    return import_extra("torchvision", "train").models


@register_backbone("resnet18")
def resnet18(roles: Sequence[str]) -> TorchvisionBackbone:
    """ResNet-18 (He et al. 2016)."""
    model = _models().resnet18(weights=None)
    model.fc = nn.Identity()  # type: ignore[assignment]
    return TorchvisionBackbone(model, "conv1", roles, 512)


@register_backbone("mobilenet_v3_small")
def mobilenet_v3_small(roles: Sequence[str]) -> TorchvisionBackbone:
    """MobileNetV3-small (Howard et al. 2019) with its hidden layer of 1024 features."""
    model = _models().mobilenet_v3_small(weights=None)
    model.classifier = model.classifier[:2]
    return TorchvisionBackbone(model, "features.0.0", roles, 1024)


@register_backbone("convnext_tiny")
def convnext_tiny(roles: Sequence[str]) -> TorchvisionBackbone:
    """ConvNeXt-tiny (Liu et al. 2022); without stochastic depth, whose randomness a resumed run could not repeat."""
    model = _models().convnext_tiny(weights=None, stochastic_depth_prob=0.0)
    model.classifier = model.classifier[:2]
    return TorchvisionBackbone(model, "features.0.0", roles, 768)


@register_backbone("efficientnet_b0")
def efficientnet_b0(roles: Sequence[str]) -> TorchvisionBackbone:
    """EfficientNet-B0 (Tan and Le 2019); without stochastic depth, whose randomness a resumed run could not repeat."""
    model = _models().efficientnet_b0(weights=None, stochastic_depth_prob=0.0)
    model.classifier = nn.Sequential()
    return TorchvisionBackbone(model, "features.0.0", roles, 1280)
