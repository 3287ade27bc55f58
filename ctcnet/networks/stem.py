"""The panel-aware stem: a first convolution whose filters belong to roles, not to channel numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.errors import PanelError
from ctcnet.panel import ROLES


def role_slots(roles: Sequence[str]) -> list[tuple[str, int]]:
    """For each channel its role and how many channels before it have the same role.

    Raises:
        PanelError: no roles, an unknown role, or the role 'none', which is never fed to a network.
    """
    usable = [role for role in ROLES if role != "none"]
    wrong = [role for role in roles if role not in usable]
    if wrong or not roles:
        raise PanelError(
            "a network needs channels with a role",
            expected=f"one or more of: {', '.join(usable)}",
            found=", ".join(roles) or "no channels",
            fix="leave channels of role 'none' out (Panel.network_panel)",
        )
    return [(role, list(roles[:position]).count(role)) for position, role in enumerate(roles)]


def check_channels(x: Tensor, presence: Tensor | None, num_channels: int) -> None:
    """Refuse crops or presence masks that do not fit the panel.

    Raises:
        PanelError: `x` is not (N, num_channels, H, W), or `presence` is neither None nor bool (N, num_channels).
    """
    if x.dim() != 4 or x.shape[1] != num_channels:
        raise PanelError(
            "crops do not fit the network's panel", expected=f"(N, {num_channels}, H, W)", found=str(tuple(x.shape))
        )
    if presence is not None and (presence.dtype != torch.bool or presence.shape != x.shape[:2]):
        raise PanelError(
            "presence does not fit the crops",
            expected=f"bool, {tuple(x.shape[:2])}",
            found=f"{presence.dtype}, {tuple(presence.shape)}",
        )


class PanelStem(nn.Module):
    """Convolution with one set of filters per role, shared by every panel that has the role.

    The first channel of a role uses the role's filters; a further channel of the same role uses them plus a deviation
    of its own that starts at zero. Each channel that is present adds its role's bias, so that a channel that is absent
    differs from one that is dark. Parameters are keyed by role (`filters.nucleus`, `deviation.target_1`,
    `role_bias.nucleus`), so that weights carry over between panels.

    Args:
        roles: role of each channel, from `ctcnet.panel.ROLES` without 'none'.
        out_channels, kernel_size, stride, padding: as in `nn.Conv2d`.
    """

    def __init__(self, roles: Sequence[str], out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.roles = tuple(roles)
        self.slots = role_slots(roles)
        self.out_channels, self.kernel_size, self.stride, self.padding = out_channels, kernel_size, stride, padding
        shape = (out_channels, 1, kernel_size, kernel_size)
        std = math.sqrt(2.0 / (len(self.slots) * kernel_size**2))  # He et al. 2015, over the channels together
        self.filters = nn.ParameterDict()
        self.deviation = nn.ParameterDict()
        self.role_bias = nn.ParameterDict()
        for role, occurrence in self.slots:
            if occurrence == 0:
                self.filters[role] = nn.Parameter(torch.randn(shape) * std)
                self.role_bias[role] = nn.Parameter(torch.zeros(out_channels))
            else:
                self.deviation[f"{role}_{occurrence}"] = nn.Parameter(torch.zeros(shape))

    def weight(self) -> Tensor:
        """Filters stacked in channel order, (out_channels, C, k, k)."""
        parts = []
        for role, occurrence in self.slots:
            shared = self.filters[role]
            parts.append(shared if occurrence == 0 else shared + self.deviation[f"{role}_{occurrence}"])
        return torch.cat(parts, dim=1)

    def channel_bias(self) -> Tensor:
        """Bias that each channel adds where it is present, (C, out_channels)."""
        return torch.stack([self.role_bias[role] for role, _ in self.slots])

    def forward(self, x: Tensor, presence: Tensor | None = None, chosen: Sequence[int] | None = None) -> Tensor:
        """Convolve the channels that are present.

        Args:
            x: (N, C, H, W) float, normalised.
            presence: (N, C) bool, False where a channel is to be ignored; None means all present.
            chosen: which of the stem's channels the C of `x` are; None means all, in order.

        Raises:
            PanelError: shapes do not fit the panel.
        """
        weight, bias = self.weight(), self.channel_bias()
        if chosen is not None:
            weight, bias = weight[:, list(chosen)], bias[list(chosen)]
        check_channels(x, presence, len(bias))
        if presence is None:
            return F.conv2d(x, weight, bias.sum(dim=0), self.stride, self.padding)
        # where, not a product: an absent channel may hold anything, NaN included
        x = torch.where(presence[:, :, None, None], x, torch.zeros_like(x))
        gated = presence.to(bias.dtype) @ bias
        return F.conv2d(x, weight, None, self.stride, self.padding) + gated[:, :, None, None]

    @torch.no_grad()
    def specialise(self) -> nn.Conv2d:
        """Plain convolution that gives the answers of this stem with all its channels present."""
        weight = self.weight()
        conv = nn.Conv2d(len(self.slots), self.out_channels, self.kernel_size, self.stride, self.padding)
        conv = conv.to(device=weight.device, dtype=weight.dtype)
        assert conv.bias is not None
        conv.weight.copy_(weight)
        conv.bias.copy_(self.channel_bias().sum(dim=0))
        return conv.train(self.training)
