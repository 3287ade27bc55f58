"""The network that serves every panel: slots for every role, of which a panel's network takes its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ctcnet.networks import CellClassifier, build_classifier
from ctcnet.networks.compact import CompactNetwork
from ctcnet.networks.stem import role_slots
from ctcnet.panel import ROLES
from ctcnet.simulate.crop_stream import Part
from ctcnet.training.starting_weights import specialised_state

SECOND_ROLES = ("epithelial", "mesenchymal", "leukocyte", "target")
"""Roles of which a panel may have two channels that are told apart; a third is treated as the second."""
UNIVERSAL_ROLES: tuple[str, ...] = (*(role for role in ROLES if role != "none"), *SECOND_ROLES)
"""Channels of the universal network."""
BACKBONE = "compact"
SHAPE_DROPOUT = 0.1
"""Less than on a few thousand crops: a stream cannot be learnt by heart."""


def build_universal(num_classes: int, dropout: float = 0.0) -> CellClassifier:
    """Untrained universal network of `num_classes` classes."""
    network = build_classifier(BACKBONE, UNIVERSAL_ROLES, num_classes, dropout)
    backbone = network.backbone
    assert isinstance(backbone, CompactNetwork)
    backbone.statistics.shape_dropout.probability = SHAPE_DROPOUT
    return network


def network_of_panel(
    backbone: str, weights: Mapping[str, Tensor], roles: Sequence[str], num_classes: int, where: str
) -> CellClassifier:
    """Network of the channels with these roles, with the weights of a universal network, in evaluation mode.

    Args:
        backbone: registered name that the weights belong to.
        weights: state of a universal network.
        roles: of the channels.
        num_classes: of the weights.
        where: whose weights they are, for errors.
    """
    network = build_classifier(backbone, roles, num_classes)
    network.load_state_dict(specialised_state(weights, network, where))
    return network.eval()


def universal_slots(roles: Sequence[str]) -> list[int]:
    """Channel of the universal network for each channel of a panel."""
    known = role_slots(UNIVERSAL_ROLES)
    most = {role: max(k for name, k in known if name == role) for role, _ in known}
    return [known.index((role, min(occurrence, most[role]))) for role, occurrence in role_slots(roles)]


def logits_of_parts(network: CellClassifier, parts: Sequence[Part], sample_seed: Tensor | None = None) -> Tensor:
    """Logits (sum of N, K) of a batch of several panels, in the order of the parts."""
    backbone = network.backbone
    assert isinstance(backbone, CompactNetwork)
    seeds = [None] * len(parts) if sample_seed is None else sample_seed.split([len(part.x) for part in parts])
    embedding = backbone.forward_panels([(part.x, universal_slots(part.roles)) for part in parts], seeds)
    with torch.autocast(embedding.device.type, enabled=False):  # the head decides: no half precision there
        return network.head(network.dropout(embedding.float(), sample_seed))
