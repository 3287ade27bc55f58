"""`counts.json`: the counts of one cartridge as a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.output import new_output_file


def write_json(path: Path, content: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write plain data as JSON that every reader takes: what is not a finite number becomes null.

    Args:
        path: file to write, such as `counts.json` or `quality.json`.
        content: dicts, lists, texts, numbers (numpy's too), booleans and None; keys stay in their order.
        overwrite: whether a file that stands there may be replaced.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    text = json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with new_output_file(path, overwrite=overwrite) as part:
        part.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
