"""The cell classifier: a backbone's embedding, dropout and one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ctcnet.errors import SettingError
from ctcnet.networks import compact, torchvision_backbones  # noqa: F401  (they register their backbones)
from ctcnet.networks.backbone import Backbone
from ctcnet.networks.dropout import SeededDropout
from ctcnet.networks.precision import in_float32
from ctcnet.networks.registry import backbone_factory


class ClassifierOutput(NamedTuple):
    """What a classifier says of N crops.

    Attributes:
        logits: (N, K) float, one per class, before temperature and softmax.
        embedding: (N, D) float, what the last layer sees (without dropout).
    """

    logits: Tensor
    embedding: Tensor


class CellClassifier(nn.Module):
    """Classifier of crops that are already normalised (`ctcnet.normalization.normalize`).

    Args:
        backbone: the network that embeds crops.
        num_classes: K, at least 2.
        dropout: probability of dropping a feature of the embedding in training, 0 to below 1.

    Raises:
        SettingError: `num_classes` or `dropout` out of range.
    """

    def __init__(self, backbone: Backbone, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if num_classes < 2:
            raise SettingError("a classifier needs classes", expected="two or more", found=str(num_classes))
        self.backbone = backbone
        self.dropout = SeededDropout(dropout)
        self.head = nn.Linear(backbone.embedding_dim, num_classes)

    def forward(self, x: Tensor, presence: Tensor | None = None, sample_seed: Tensor | None = None) -> ClassifierOutput:
        """Classify normalised crops.

        Args:
            x: (N, C, H, W) float, normalised.
            presence: (N, C) bool, False where a channel is to be ignored; None means all present.
            sample_seed: (N,) int64, seeds of the dropout masks; needed in training when something is dropped.

        Raises:
            PanelError: shapes do not fit the panel.
            SettingError: dropout in training without `sample_seed`.
        """
        embedding = self.backbone(x, presence, sample_seed)
        return ClassifierOutput(in_float32(self.head, self.dropout(embedding, sample_seed)), embedding)

    def deployable(self) -> nn.Module:
        """Plain module of one argument, crops (N, C, H, W), with the same `ClassifierOutput` to 1e-5 in evaluation.

        All channels count as present; stem and branches are plain convolutions and batch norm is folded. This
        classifier stays as it is.
        """
        head = nn.Linear(self.head.in_features, self.head.out_features).to(self.head.weight)
        head.load_state_dict(self.head.state_dict())
        return _DeployedClassifier(self.backbone.deployable(), head).eval()


class _DeployedClassifier(nn.Module):
    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> ClassifierOutput:
        embedding = self.backbone(x)
        return ClassifierOutput(self.head(embedding), embedding)


def build_classifier(backbone: str, roles: Sequence[str], num_classes: int, dropout: float = 0.0) -> CellClassifier:
    """Make an untrained classifier.

    Args:
        backbone: a registered name, see `ctcnet.networks.backbone_names`.
        roles: role of each channel, in channel order, without 'none'.
        num_classes: K, at least 2.
        dropout: see `CellClassifier`.

    Raises:
        SettingError: unknown backbone, or a number out of range.
        PanelError: a role that a network cannot be fed.
    """
    network = backbone_factory(backbone)(roles)
    assert isinstance(network, Backbone)
    return CellClassifier(network, num_classes, dropout)
