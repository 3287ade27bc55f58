"""Registry of backbones: a name for each, no name twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import nn

from ctcnet.errors import SettingError

BackboneFactory = Callable[[Sequence[str]], nn.Module]
"""Makes a backbone from the roles of a panel's channels; see `ctcnet.networks.backbone.Backbone`."""

_Factory = TypeVar("_Factory", bound=BackboneFactory)
_FACTORIES: dict[str, BackboneFactory] = {}


def register_backbone(name: str) -> Callable[[_Factory], _Factory]:
    """Decorator that files a factory under `name`.

    Raises:
        SettingError: the name is taken.
    """

    def register(factory: _Factory) -> _Factory:
        if name in _FACTORIES:
            raise SettingError(f"backbone '{name}' is registered twice", fix="give the new one another name")
        _FACTORIES[name] = factory
        return factory

    return register


def backbone_names() -> tuple[str, ...]:
    """Registered names, sorted."""
    return tuple(sorted(_FACTORIES))


def backbone_factory(name: str) -> BackboneFactory:
    """Factory registered under `name`.

    Raises:
        SettingError: no such name; lists those there are.
    """
    if name not in _FACTORIES:
        raise SettingError(
            f"there is no backbone '{name}'", expected=f"one of: {', '.join(backbone_names())}", fix="correct the name"
        )
    return _FACTORIES[name]
