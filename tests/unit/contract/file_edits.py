"""Changes to a model file, as a hand or a fault might make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx


def rewrite(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """Change the model in a file."""
    model = onnx.load_model_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def set_property(path: Path, name: str, value: str | None) -> Path:
    """Change one metadata property of a file; None removes it."""

    def change(model: onnx.ModelProto) -> None:
        properties = {entry.key: entry.value for entry in model.metadata_props} | {name: value}
        onnx.helper.set_model_props(model, {key: text for key, text in properties.items() if text is not None})

    return rewrite(path, change)
