"""The own compact network for deployment: plain convolutions, merged from training branches, and stain statistics.

About 7.8 million multiply-accumulates at 64 px and 5 channels. No depthwise convolution and no activation but a bounded
ReLU: on CPUs both cost more than they save, and INT8 gains nothing from depthwise.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ctcnet.networks.backbone import Backbone
from ctcnet.networks.batch_norm import BatchNorm2d, fold_batch_norm
from ctcnet.networks.bounded_relu import BoundedReLU
from ctcnet.networks.registry import register_backbone
from ctcnet.networks.reparam import BranchedConv, merge_branches
from ctcnet.networks.stain_statistics import StainStatistics
from ctcnet.networks.stem import PanelStem
from ctcnet.normalization import INPUT_LIMIT

STEM_WIDTH = 32
STAGES: tuple[tuple[int, int], ...] = ((32, 1), (48, 2), (96, 2))
"""Width and number of convolutions of each stage; every stage after the first halves the resolution."""
STATISTICS_WIDTH = 64
SHAPE_DROPOUT = 0.5
"""Share of the invariants of shape that a training step does not see; without it a few thousand crops are learnt by
heart."""


class CompactNetwork(Backbone):
    """Stem of 4 x 4 px patches, three stages of 3 x 3 convolutions, pooled mean and maximum, beside stain statistics.

    Args:
        roles: role of each channel.
    """

    def __init__(self, roles: Sequence[str]) -> None:
        super().__init__()
        self.stem = PanelStem(roles, STEM_WIDTH, kernel_size=4, stride=4, padding=0)
        self.stem_norm = BatchNorm2d(STEM_WIDTH)
        self.stem_activation = BoundedReLU()
        layers: list[nn.Module] = []
        width = STEM_WIDTH
        for stage, (stage_width, depth) in enumerate(STAGES):
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                layers += [BranchedConv(width, stage_width, stride), BoundedReLU()]
                width = stage_width
        self.stages = nn.Sequential(*layers)
        self.statistics = StainStatistics(roles, STATISTICS_WIDTH, shape_dropout=SHAPE_DROPOUT)
        self.embedding_dim = 2 * width + STATISTICS_WIDTH

    def forward(self, x: Tensor, presence: Tensor | None = None, sample_seed: Tensor | None = None) -> Tensor:
        maps = self._maps(self.stem(x.clamp(max=INPUT_LIMIT), presence))
        return _embed(maps, self.statistics(x, presence, sample_seed))

    def forward_panels(
        self, parts: Sequence[tuple[Tensor, Sequence[int]]], sample_seeds: Sequence[Tensor | None]
    ) -> Tensor:
        """Embed crops of several panels as one batch, so that batch norm sees them together.

        Args:
            parts: for each panel crops (N_i, C_i, H, W), float, normalised, and which of the network's channels they
                are.
            sample_seeds: of each panel's crops, see `forward`.

        Returns:
            (sum of N_i, D) float embedding, in order.
        """
        stems = torch.cat([self.stem(x.clamp(max=INPUT_LIMIT), chosen=chosen) for x, chosen in parts])
        maps = self._maps(stems)
        statistics = self.statistics
        with torch.autocast(maps.device.type, enabled=False):
            projected = torch.cat(
                [
                    statistics.project(x.float(), None, seed, chosen)
                    for (x, chosen), seed in zip(parts, sample_seeds, strict=True)
                ]
            )
            amounts = statistics.finish(projected)
        return _embed(maps, amounts)

    def _maps(self, stems: Tensor) -> Tensor:
        return self.stages(self.stem_activation(self.stem_norm(stems)))

    def deployable(self) -> nn.Module:
        return _DeployedCompact(copy.deepcopy(self).eval())


def _embed(maps: Tensor, amounts: Tensor) -> Tensor:
    return torch.cat([maps.mean((2, 3)).float(), maps.amax((2, 3)).float(), amounts], dim=1)


class _DeployedCompact(nn.Module):
    """The compact network as plain convolutions and matrix products."""

    def __init__(self, trained: CompactNetwork) -> None:
        super().__init__()
        stem = fold_batch_norm(nn.Sequential(trained.stem.specialise(), trained.stem_norm).eval())
        self.convolutions = nn.Sequential(
            stem, trained.stem_activation.deployable(), merge_branches(trained.stages)
        ).eval()
        self.statistics = trained.statistics

    def forward(self, x: Tensor) -> Tensor:
        return _embed(self.convolutions(x.clamp(max=INPUT_LIMIT)), self.statistics(x))


@register_backbone("compact")
def compact(roles: Sequence[str]) -> CompactNetwork:
    """The compact network of this module."""
    return CompactNetwork(roles)
