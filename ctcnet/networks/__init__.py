"""Networks: the panel-aware stem, the backbones behind one registry, and the cell classifier made of them."""

from ctcnet.networks.classifier import CellClassifier, ClassifierOutput, build_classifier
from ctcnet.networks.registry import backbone_names

__all__ = ["CellClassifier", "ClassifierOutput", "backbone_names", "build_classifier"]
