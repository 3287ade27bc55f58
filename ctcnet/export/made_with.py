"""The programs that make an exported file: name, version and licence of each, as they are installed here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata

from ctcnet import __version__

PROGRAMS = ("torch", "onnx", "onnxscript", "onnx-ir", "numpy", "onnxruntime", "onnxruntime-gpu")


def made_with() -> list[dict[str, str]]:
    """One entry `name`, `version`, `licence` for ctcnet and each of `PROGRAMS` that is installed.

    The licence is '' where a package states none.
    """
    own = {"name": "ctcnet", "version": __version__, "licence": "Apache-2.0"}
    return [own, *(entry for name in PROGRAMS for entry in _entry(name))]


def _entry(name: str) -> list[dict[str, str]]:
    try:
        stated = metadata(name)
    except PackageNotFoundError:
        return []
    licence = next((stated[key] for key in ("License-Expression", "License") if key in stated), "")
    return [{"name": name, "version": stated["Version"], "licence": licence.strip().partition("\n")[0]}]
