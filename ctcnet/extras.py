"""Optional dependencies: import them by name, or say which extra brings them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ctcnet.errors import MissingExtraError


def import_extra(module: str, extra: str) -> ModuleType:
    """Import `module`, which the optional extra `extra` installs.

    Raises:
        MissingExtraError: the package that holds `module` is not installed; names the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == package and package != "ctcnet":
            raise MissingExtraError(extra, package) from error
        if module.startswith("ctcnet.") and error.name is not None and not error.name.startswith("ctcnet"):
            raise MissingExtraError(extra, error.name.partition(".")[0]) from error
        raise
