"""Backbone registry."""

import pytest
from torch import nn

from ctcnet.errors import SettingError
from ctcnet.networks.registry import backbone_factory, backbone_names, register_backbone

pytestmark = pytest.mark.unit


def test_all_backbones_are_registered():
    import ctcnet.networks  # noqa: F401

    assert {"compact", "resnet18", "mobilenet_v3_small", "convnext_tiny", "efficientnet_b0"} <= set(backbone_names())


def test_a_name_taken_twice_is_refused():
    import ctcnet.networks  # noqa: F401

    with pytest.raises(SettingError, match="registered twice"):
        register_backbone("compact")(lambda roles: nn.Identity())


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(SettingError, match="compact") as caught:
        backbone_factory("resnet19")
    assert "resnet19" in caught.value.what
