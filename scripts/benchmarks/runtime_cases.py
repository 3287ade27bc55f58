"""Prepared inputs for the runners of `scripts/examples`, and the answers that these leave."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """One run of a model: its name, and its inputs by name."""

    name: str
    inputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Answer:
    """What a runtime made of a case: outputs by name, or the error it raised."""

    name: str
    outputs: dict[str, np.ndarray]
    error: str | None


def write_cases(cases: Iterable[Case], folder: Path) -> None:
    """Write `cases.json` and `inputs.bin` into a folder; equal arrays are kept once."""
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[bytes, int] = {}
    listed = []
    with open(folder / "inputs.bin", "wb") as file:
        for case in cases:
            inputs = {}
            for name, values in case.inputs.items():
                content = np.ascontiguousarray(values).tobytes()
                key = sha256(content).digest()
                if key not in places:
                    places[key] = file.tell()
                    file.write(content)
                inputs[name] = {
                    "dtype": str(values.dtype), "shape": values.shape, "file": "inputs.bin", "offset": places[key],
                }  # fmt: skip
            listed.append({"name": case.name, "inputs": inputs})
    (folder / "cases.json").write_text(json.dumps(listed), encoding="utf-8")


def read_answers(folder: Path) -> tuple[str, list[Answer]]:
    """Name and version of the runtime, and its answers in the order of the cases."""
    content = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    data = (folder / "outputs.bin").read_bytes()
    answers = []
    for entry in content["answers"]:
        outputs = {name: _tensor(data, place) for name, place in entry.get("outputs", {}).items()}
        answers.append(Answer(entry["name"], outputs, entry.get("error")))
    return content["runtime"], answers


def _tensor(data: bytes, place: dict) -> np.ndarray:
    count = int(np.prod(place["shape"], dtype=np.int64))
    return np.frombuffer(data, np.dtype(place["dtype"]), count, place["offset"]).reshape(place["shape"])
