"""A model file, read and checked before onnxruntime sees it: files may come from sources that are not trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ctcnet.errors import ModelFileError
from ctcnet.runtime.onnx_operators import OPERATORS
from ctcnet.runtime.onnx_schema import MODEL
from ctcnet.runtime.protobuf_reader import WireError, read_message

MOST_BYTES = 256 * 1024 * 1024
IR_VERSIONS = range(7, 10)
"""7 came with opset 12; 9 is the newest that onnxruntime 1.17 loads."""
OPSETS = range(13, 19)
"""From 13 on quantisation is per channel."""
MOST_AXES = 16

_VALUES = {
    1: (4, "float_data"),
    2: (1, "int32_data"),
    3: (1, "int32_data"),
    4: (2, "int32_data"),
    5: (2, "int32_data"),
    6: (4, "int32_data"),
    7: (8, "int64_data"),
    9: (1, "int32_data"),
    10: (2, "int32_data"),
    11: (8, "double_data"),
    12: (4, "uint64_data"),
    13: (8, "uint64_data"),
    16: (2, "int32_data"),
}
"""TensorProto.DataType -> bytes of a value, and the field that holds values outside raw_data."""

_ATTRIBUTE_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 5: "g", 7: "ints", 8: "strings"}
"""AttributeProto.AttributeType -> the field with the value."""

_DAMAGED = "copy the file again, or export the model again; use files of a source that you trust"


@dataclass(frozen=True)
class ModelFile:
    """What a checked file holds.

    Attributes:
        content: its bytes.
        sha256: their hash, hexadecimal.
        ir_version, opset: of ONNX.
        operators: names of the operators in use.
        properties: its metadata.
    """

    content: bytes
    sha256: str
    ir_version: int
    opset: int
    operators: frozenset[str]
    properties: Mapping[str, str]


def read_model_file(path: str | Path, expected_sha256: str | None = None) -> ModelFile:
    """Read a model file and check it.

    Checked are its size, that its bytes are a whole ONNX model and nothing besides, that every tensor has the values
    that its shape calls for, and that it needs nothing but operators of `OPERATORS`: no external data, no functions, no
    operators of other domains, no graphs within the graph but the bodies of loops that state their rounds. Time and
    memory are bounded by the size of the file.

    Args:
        path: of the file.
        expected_sha256: hash that it must have, hexadecimal; None for any.

    Raises:
        ModelFileError: no such file, another hash, or it fails a check.
    """
    content = _read(Path(path))
    if not content:
        raise ModelFileError("is empty", where=path, fix="copy the file again")
    digest = sha256(content).hexdigest()
    if expected_sha256 is not None and digest != expected_sha256.lower():
        raise ModelFileError(
            "is not the file it should be: it has been changed, or is another one",
            where=path,
            expected=f"sha256 {expected_sha256.lower()}",
            found=f"sha256 {digest}",
            fix="copy the file again from where it was signed",
        )
    try:
        model = read_message(memoryview(content), MODEL)
    except WireError as cause:
        raise ModelFileError(
            "is no ONNX model, or one that is not allowed here",
            where=path,
            expected="a whole file written by ctcnet export",
            found=str(cause),
            fix=_DAMAGED,
        ) from cause
    problem = _problem(model)
    if problem:
        raise ModelFileError("is not allowed here", where=path, found=problem, fix=_DAMAGED)
    return ModelFile(
        content,
        digest,
        model["ir_version"],
        model["opset_import"][0]["version"],
        frozenset(node["op_type"] for node in _nodes(model["graph"])),
        {entry["key"]: entry["value"] for entry in model.get("metadata_props", ())},
    )


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if path.is_file() and size <= MOST_BYTES:
            with path.open("rb") as stream:
                return stream.read(MOST_BYTES + 1)
    except OSError as cause:
        raise ModelFileError(f"cannot be read ({cause.strerror})", where=path, fix="check the path") from cause
    if not path.is_file():
        raise ModelFileError("is no file", where=path, expected="an ONNX file written by ctcnet export")
    raise ModelFileError(
        "is too large for a model of ctcnet", where=path, expected=f"at most {MOST_BYTES} bytes", found=f"{size} bytes"
    )


def _problem(model: Mapping[str, Any]) -> str:
    """What is wrong with a model that can be read, '' where nothing is."""
    if model.get("ir_version") not in IR_VERSIONS:
        return f"IR version {model.get('ir_version')}, not {IR_VERSIONS[0]} to {IR_VERSIONS[-1]}"
    imports = [(entry.get("domain", ""), entry.get("version")) for entry in model.get("opset_import", ())]
    if len(imports) != 1 or imports[0][0] not in ("", "ai.onnx") or imports[0][1] not in OPSETS:
        return f"operator sets {imports}, not ai.onnx {OPSETS[0]} to {OPSETS[-1]} alone"
    keys = [entry.get("key") for entry in model.get("metadata_props", ()) if "value" in entry]
    if len(keys) != len(model.get("metadata_props", ())) or None in keys or len(set(keys)) != len(keys):
        return "a metadata property without key or value, or given twice"
    graph = model.get("graph")
    if graph is None:
        return "no graph"
    problem = next(filter(None, (_tensors_problem(part.get("initializer", ())) for part in _graphs(graph))), "")
    return problem or next(filter(None, map(_node_problem, _nodes(graph))), "")


def _graphs(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A graph and the bodies of its loops."""
    yield graph
    for node in graph.get("node", ()):
        for attribute in node.get("attribute", ()):
            if "g" in attribute:
                yield from _graphs(attribute["g"])


def _nodes(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (node for part in _graphs(graph) for node in part.get("node", ()))


def _node_problem(node: Mapping[str, Any]) -> str:
    operator = node.get("op_type", "")
    if node.get("domain", "") not in ("", "ai.onnx"):
        return f"an operator of another domain than ai.onnx: {node['domain']}.{operator}"
    if operator not in OPERATORS:
        return f"the operator '{operator}', which exported models do not use"
    if operator == "Loop" and not next(iter(node.get("input", ())), ""):
        return "a loop without a number of rounds"
    for attribute in node.get("attribute", ()):
        given = [name for name in _ATTRIBUTE_FIELDS.values() if name in attribute]
        wanted = _ATTRIBUTE_FIELDS.get(attribute.get("type", 0))
        if wanted is None or given not in ([], [wanted]) or (wanted == "t" and not given):
            return f"an attribute of '{operator}' whose type is not that of its value"
        if "g" in attribute and operator != "Loop":
            return f"a graph within '{operator}'"
    return _tensors_problem([attribute["t"] for attribute in node.get("attribute", ()) if "t" in attribute])


def _tensors_problem(tensors: Any) -> str:
    return next(filter(None, map(_tensor_problem, tensors)), "")


def _tensor_problem(tensor: Mapping[str, Any]) -> str:
    """What is wrong with a tensor: its data must be there, in one field, as many as its shape says."""
    name, shape = tensor.get("name", ""), tensor.get("dims", [])
    if tensor.get("data_location", 0) != 0:
        return f"tensor '{name}' with external data"
    if tensor.get("data_type") not in _VALUES:
        return f"tensor '{name}' of the unknown type {tensor.get('data_type')}"
    bytes_each, typed = _VALUES[tensor["data_type"]]
    given = [key for key in ("raw_data", *{field for _, field in _VALUES.values()}) if key in tensor]
    if len(shape) > MOST_AXES or min(shape, default=0) < 0 or given not in ([], ["raw_data"], [typed]):
        return f"tensor '{name}' of an impossible shape, or with values of another type"
    wanted = math.prod(shape)
    found = len(tensor["raw_data"]) / bytes_each if given == ["raw_data"] else tensor.get(typed, 0)
    return "" if found == wanted else f"tensor '{name}' that declares {wanted} values and has {found:g}"
