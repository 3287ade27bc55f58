"""Whole-crop statistics of each stain, so that the absolute amount of stain reaches the classifier's head.

Convolutions followed by batch norm and average pooling blur how much stain a cell holds in all; DNA content, and with
it the phase of the cell cycle, is exactly that. The amounts are those of `ctcnet.stain_amounts`; beside them stands the
shape of each stain (`ctcnet.networks.shape_statistics`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.networks.batch_norm import BatchNorm1d
from ctcnet.networks.dropout import SHAPE_STREAM, SeededDropout
from ctcnet.networks.precision import in_float32
from ctcnet.networks.shape_statistics import NUM_RUNGS, NUM_SHAPE_STATISTICS, shape_statistics
from ctcnet.networks.stem import check_channels, role_slots
from ctcnet.normalization import INPUT_LIMIT
from ctcnet.stain_amounts import MEAN_POSITIVE, NUM_AMOUNTS, stain_amounts

_RUNG = 0.05
_NUM_RUNGS = 60
_ROUNDING, _RELATIVE_ROUNDING = 1e-5, 2e-6
"""What float32 may leave of a flat area above its border, of normalised intensity and of the border: no shape is taken
of it, which would be another one on another processor."""
NUM_STATISTICS = NUM_AMOUNTS + 1 + _NUM_RUNGS + NUM_SHAPE_STATISTICS
"""Numbers per channel."""


def _ladder(log_amount: Tensor) -> Tensor:
    """Piecewise-linear encoding (Gorishniy et al. 2022) of (..., 1): rung k rises from 0 to 1 over [k, k + 1] * _RUNG.

    A sharp limit on the amount of stain, as between DNA contents, is then one large weight and needs no steep network.
    """
    rungs = torch.arange(_NUM_RUNGS, device=log_amount.device, dtype=log_amount.dtype)
    return (log_amount / _RUNG - rungs).clamp(0.0, 1.0)


def channel_statistics(x: Tensor, block_px: int) -> Tensor:
    """Statistics of each channel of each crop.

    Args:
        x: (N, C, H, W) float, normalised. Pixels beyond `INPUT_LIMIT` count as so bright.
        block_px: edge of the blocks whose means are the basis, in pixels; H and W are at least three blocks.

    Returns:
        (N, C, NUM_STATISTICS): logarithms and extent of `stain_amounts`; the ladder of the positive mean (`_ladder`);
        and `shape_statistics` of what is positive beyond rounding.
    """
    amounts = stain_amounts(x.clamp(max=INPUT_LIMIT), block_px)
    ladder = _ladder(amounts.logs[:, :, MEAN_POSITIVE : MEAN_POSITIVE + 1])
    rounding = _ROUNDING + _RELATIVE_ROUNDING * amounts.border.abs()
    stain = F.relu(amounts.blocks.flatten(2) - amounts.border - rounding).unflatten(2, amounts.blocks.shape[2:])
    return torch.cat([3.0 * (amounts.logs - 1.0), 3.0 * amounts.extent, ladder, shape_statistics(stain)], dim=2)


class StainStatistics(nn.Module):
    """Statistics of the channels present: one projection per role, their sum, and a hidden layer. Always float32.

    Args:
        roles: role of each channel.
        out_features: width of the projection and of the result.
        block_px: see `channel_statistics`.
        shape_dropout: probability of dropping an invariant of shape, with all of its rungs, in training.
    """

    def __init__(self, roles: Sequence[str], out_features: int, block_px: int = 4, shape_dropout: float = 0.0) -> None:
        super().__init__()
        self.shape_dropout = SeededDropout(shape_dropout, SHAPE_STREAM)
        self.slots = role_slots(roles)
        self.block_px = block_px
        self.projection = nn.ParameterDict()
        self.deviation = nn.ParameterDict()
        self.role_bias = nn.ParameterDict()
        std = 1.0 / math.sqrt(len(self.slots) * NUM_STATISTICS)
        for role, occurrence in self.slots:
            if occurrence == 0:
                self.projection[role] = nn.Parameter(torch.randn(NUM_STATISTICS, out_features) * std)
                self.role_bias[role] = nn.Parameter(torch.zeros(out_features))
            else:
                self.deviation[f"{role}_{occurrence}"] = nn.Parameter(torch.zeros(NUM_STATISTICS, out_features))

        self.norm = BatchNorm1d(out_features)
        self.hidden = nn.Linear(out_features, out_features)

    def weight(self) -> Tensor:
        """Projections stacked in channel order, (C, NUM_STATISTICS, out_features)."""
        return torch.stack(
            [
                self.projection[role] if k == 0 else self.projection[role] + self.deviation[f"{role}_{k}"]
                for role, k in self.slots
            ]
        )

    def forward(self, x: Tensor, presence: Tensor | None = None, sample_seed: Tensor | None = None) -> Tensor:
        """Features of the amounts of stain in the channels that are present.

        Args:
            x: (N, C, H, W) float, normalised.
            presence: (N, C) bool, or None where all are present.
            sample_seed: (N,) int64, needed in training when `shape_dropout` is above 0.

        Returns:
            (N, out_features), 0 or greater.
        """
        return in_float32(lambda x: self.finish(self.project(x, presence, sample_seed)), x)

    def finish(self, projected: Tensor) -> Tensor:
        """Features (N, out_features) of what `project` gave."""
        return F.relu(self.hidden(F.relu(self.norm(projected))))

    def project(
        self,
        x: Tensor,
        presence: Tensor | None = None,
        sample_seed: Tensor | None = None,
        chosen: Sequence[int] | None = None,
    ) -> Tensor:
        """Sum over the channels present of the role's projection of their statistics, (N, out_features).

        `chosen` says which of the channels those of `x` are; None means all, in order.
        """
        weight, bias = self.weight(), torch.stack([self.role_bias[role] for role, _ in self.slots])
        if chosen is not None:
            weight, bias = weight[list(chosen)], bias[list(chosen)]
        check_channels(x, presence, len(bias))
        if presence is None:
            statistics = self._thinned(channel_statistics(x, self.block_px), sample_seed)
            return statistics.flatten(1) @ weight.flatten(0, 1) + bias.sum(dim=0)
        x = torch.where(presence[:, :, None, None], x, torch.zeros_like(x))
        gate = presence.to(bias.dtype)
        statistics = self._thinned(channel_statistics(x, self.block_px), sample_seed) * gate[:, :, None]
        return statistics.flatten(1) @ weight.flatten(0, 1) + gate @ bias

    def _thinned(self, statistics: Tensor, sample_seed: Tensor | None) -> Tensor:
        """Statistics (N, C, NUM_STATISTICS) with some invariants of shape dropped in training."""
        if not self.training or self.shape_dropout.probability == 0.0:
            return statistics
        amounts, shape = statistics.split([NUM_STATISTICS - NUM_SHAPE_STATISTICS, NUM_SHAPE_STATISTICS], dim=2)
        rungs = shape.unflatten(2, (-1, NUM_RUNGS))
        every = torch.ones_like(rungs[..., 0]).flatten(1)
        kept = self.shape_dropout(every, sample_seed).unflatten(1, rungs.shape[1:3])
        return torch.cat([amounts, (rungs * kept[..., None]).flatten(2)], dim=2)
