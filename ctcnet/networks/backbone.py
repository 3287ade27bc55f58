"""What every backbone offers: crops in, embedding out, and a plain form of itself for deployment."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ctcnet.networks.stem import PanelStem


class Backbone(nn.Module, ABC):
    """Base of the backbones.

    Attributes:
        stem: the panel-aware first convolution.
        embedding_dim: width D of the embedding.
    """

    stem: PanelStem
    embedding_dim: int

    @abstractmethod
    def forward(self, x: Tensor, presence: Tensor | None = None, sample_seed: Tensor | None = None) -> Tensor:
        """Embed normalised crops.

        Args:
            x: (N, C, H, W) float, normalised.
            presence: (N, C) bool, False where a channel is to be ignored; None means all present.
            sample_seed: (N,) int64, seeds of what a backbone drops in training; some need none.

        Returns:
            (N, D) float embedding.
        """

    @abstractmethod
    def deployable(self) -> nn.Module:
        """Module of one argument, crops (N, C, H, W), with the same embedding when all channels are present.

        The stem is a plain convolution, training branches are merged and batch norm is folded; this backbone stays as
        it is. The module is in evaluation mode.
        """
