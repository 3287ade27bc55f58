"""Whether the metadata of a file say what the card and the graph say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctcnet.contract.fields import CONTRACT_VERSION, FIELDS, LEAST_ONNXRUNTIME, Field
from ctcnet.errors import ContractError
from ctcnet.model_card import ModelCard
from ctcnet.runtime.frame_predictor import KIND_NAMES, LEVEL_SOURCES
from ctcnet.runtime.model_file import ModelFile


def graph_of(file: ModelFile, where: str | Path) -> str:
    """Kind of graph that a file says it holds.

    Raises:
        ContractError: it says none, or one that is not known.
    """
    graph = file.properties.get("graph")
    if graph is None or graph not in FIELDS:
        raise _difference("graph", " or ".join(FIELDS), graph, where)
    return graph


def check_fields(file: ModelFile, graph: str, card: ModelCard, input_dtype: str, where: str | Path) -> int:
    """Check every property of a file; returns how many there are.

    Args:
        file: as read.
        graph: its kind.
        card: read from it.
        input_dtype: type of the pixels that its graph takes.
        where: file that the error names.

    Raises:
        ContractError: a property is missing, unknown, cannot be read or says something else; the first is named.
    """
    fields = {field.name: field for field in FIELDS[graph]}
    unknown = sorted(set(file.properties) - set(fields))
    if unknown:
        raise _difference(unknown[0], "no property of that name", file.properties[unknown[0]], where)
    wanted = {
        "contract": str(CONTRACT_VERSION),
        "graph": graph,
        "input_dtype": input_dtype,
        "opset": str(file.opset),
        "ir_version": str(file.ir_version),
    }
    if graph == "frame":
        wanted |= {"kinds": ",".join(KIND_NAMES), "level_sources": ",".join(LEVEL_SOURCES)}
    wanted |= {name: field.of_card(card) for name, field in fields.items() if field.of_card is not None}
    for name, field in fields.items():
        found = file.properties.get(name)
        if found is None and field.optional:
            continue
        if found is None or not _is_readable(field, found):
            raise _difference(name, wanted.get(name, field.kind), found, where)
        if name in wanted and found != wanted[name]:
            raise _difference(name, wanted[name], found, where)
    if graph == "frame" and not 0 <= int(file.properties["max_events"]) < 2**31:
        raise _difference("max_events", "a number of events, 0 or more", file.properties["max_events"], where)
    _check_onnxruntime(file.properties["least_onnxruntime"], where)
    check_made_with(file.properties, where)
    return len(file.properties)


def check_made_with(properties: Mapping[str, str], where: str | Path) -> list[dict[str, str]]:
    """The programs that made a file.

    Raises:
        ContractError: the property is missing or malformed.
    """
    text = properties.get("made_with")
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        content = None
    keys = {"name", "version", "licence"}
    if not isinstance(content, list) or not all(
        isinstance(entry, dict)
        and set(entry) == keys
        and all(isinstance(value, str) for value in entry.values())
        and entry["name"]
        for entry in content
    ):
        raise _difference("made_with", "a JSON list of name, version, licence, none without a name", text, where)
    return content


def _is_readable(field: Field, text: str) -> bool:
    try:
        if field.kind == "JSON":
            json.loads(text)
        elif field.kind == "number":
            float(text)
        elif field.kind == "integer":
            int(text)
        elif field.kind == "sha256":
            return re.fullmatch("[0-9a-f]{64}", text) is not None
    except (ValueError, RecursionError):
        return False
    return text != ""


def _check_onnxruntime(least: str, where: str | Path) -> None:
    import onnxruntime

    here = onnxruntime.__version__
    readable = re.fullmatch(r"\d{1,4}\.\d{1,4}", least) is not None
    if readable and _version(least) < _version(LEAST_ONNXRUNTIME):
        raise _difference("least_onnxruntime", f"{LEAST_ONNXRUNTIME} or newer", least, where)
    if not readable or _version(here) < _version(least):
        raise ContractError(
            "needs another onnxruntime",
            where=where,
            expected=f"{least} or newer",
            found=here,
            fix="bring it up to date",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def _difference(name: str, expected: Any, found: Any, where: str | Path) -> ContractError:
    return ContractError(
        f"{'lacks' if found is None else 'says something else in'} the metadata property '{name}'",
        where=where,
        expected=_short(expected),
        found="nothing" if found is None else _short(found),
        fix="use a file that ctcnet export wrote, as it wrote it",
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
