"""A finished universal network that looks at each crop from eight sides, as the teacher of the next one.

A cell is what it is however its picture is turned or mirrored, but the network's answers to the eight pictures differ.
Their mean is nearer to the truth than any of them. What runs on an instrument cannot look eight times; it can be taught
by what does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ctcnet.pretrained.universal_network import BACKBONE, network_of_panel
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import Piece

BATCH = 64


def eight_views(x: Tensor) -> Iterator[Tensor]:
    """Crops (N, C, S, S) turned by quarters and mirrored: the eight symmetries of a square, the crops themselves
    first."""
    for turned in (x, x.transpose(2, 3)):
        for axes in ((), (2,), (3,), (2, 3)):
            yield turned.flip(axes) if axes else turned


class EightViews:
    """Probabilities by the mean logits of eight views.

    Args:
        weights: of a universal network with bounded activations.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = dict(weights)

    def network(self, roles: Sequence[str]) -> nn.Module:
        """The network of a panel with these roles, merged."""
        return network_of_panel(BACKBONE, self._weights, roles, len(CLASSES), "the teacher").deployable()

    @torch.no_grad()
    def __call__(self, piece: Piece) -> Tensor:
        """Probabilities (N, K) float32 of the classes for each crop of a piece, on its device."""
        network = self.network(piece.roles).to(piece.x.device)
        parts = []
        for part in piece.x.split(BATCH):
            x = part.float()
            parts.append(torch.stack([network(view.contiguous()).logits for view in eight_views(x)]).mean(0))
        return torch.cat(parts).softmax(dim=1)
