"""Peer: an encoder with a classifier on its code, taught to reconstruct its input at the same time.

Of the kind that Zeune et al. 2020 (Nature Machine Intelligence 2, 124) published for five classes of CellSearch
images: a convolutional autoencoder whose code is classified. The paper's idea is followed, not its layers: widths and
depth are our own, for 64 px. Importing this module registers the backbone `encoder_classifier`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.networks.backbone import Backbone
from ctcnet.networks.batch_norm import BatchNorm2d, fold_batch_norm
from ctcnet.networks.registry import register_backbone
from ctcnet.networks.stem import PanelStem

NAME = "encoder_classifier"
STEM_WIDTH = 32
WIDTHS = (64, 128, 128)
"""Of the convolutions behind the stem; like the stem each halves the resolution."""
POOLED_PX = 4
CODE = 100
RECONSTRUCTION_WEIGHT = 1.0
"""Of the mean squared error of the logarithm of normalised intensity, beside the loss of classification."""


class _AddLoss(torch.autograd.Function):
    """Passes `x` on and adds `loss` to whatever loss is made of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, loss: Tensor) -> Tensor:  # pyright: ignore
        ctx.shape, ctx.dtype = loss.shape, loss.dtype
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        return gradient, torch.ones(ctx.shape, dtype=ctx.dtype, device=gradient.device)


class EncoderClassifier(Backbone):
    """Four strided convolutions, a code of `CODE` features, and a decoder that is used in training alone.

    Args:
        roles: role of each channel.
    """

    def __init__(self, roles: Sequence[str]) -> None:
        super().__init__()
        self.stem = PanelStem(roles, STEM_WIDTH, kernel_size=4, stride=2, padding=1)
        layers: list[nn.Module] = [BatchNorm2d(STEM_WIDTH), nn.ReLU()]
        upwards: list[nn.Module] = []
        width = STEM_WIDTH
        for wider in WIDTHS:
            layers += [nn.Conv2d(width, wider, 4, 2, 1), BatchNorm2d(wider), nn.ReLU()]
            upwards = [nn.ConvTranspose2d(wider, width, 4, 2, 1), BatchNorm2d(width), nn.ReLU(), *upwards]
            width = wider
        flat = width * POOLED_PX**2
        self.convolutions = nn.Sequential(*layers)
        self.code = nn.Sequential(nn.AdaptiveAvgPool2d(POOLED_PX), nn.Flatten(), nn.Linear(flat, CODE))
        last = nn.ConvTranspose2d(STEM_WIDTH, len(roles), 4, 2, 1)
        self.decoder = nn.Sequential(
            nn.Linear(CODE, flat), nn.ReLU(), nn.Unflatten(1, (width, POOLED_PX, POOLED_PX)), *upwards, last
        )
        self.embedding_dim = CODE

    def forward(self, x: Tensor, presence: Tensor | None = None, sample_seed: Tensor | None = None) -> Tensor:
        code = self.code(self.convolutions(self.stem(x, presence)))
        return _AddLoss.apply(code, self.reconstruction_loss(x, code)) if self.training else code  # pyright: ignore

    def reconstruction_loss(self, x: Tensor, code: Tensor) -> Tensor:
        """Weighted mean squared error of crops (N, C, H, W) made again from their codes (N, D)."""
        wanted = x.clamp(min=0).log1p()
        made = F.interpolate(self.decoder(code).float(), wanted.shape[2:], mode="bilinear")
        return RECONSTRUCTION_WEIGHT * F.mse_loss(made, wanted)

    def deployable(self) -> nn.Module:
        own = copy.deepcopy(self).eval()
        return nn.Sequential(fold_batch_norm(nn.Sequential(own.stem.specialise(), *own.convolutions).eval()), own.code)


@register_backbone(NAME)
def encoder_classifier(roles: Sequence[str]) -> EncoderClassifier:
    """The encoder of this module."""
    return EncoderClassifier(roles)
