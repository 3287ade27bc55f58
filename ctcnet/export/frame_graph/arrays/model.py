"""From a recording to a model, and from a model into a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ctcnet.export.frame_graph.arrays.array import Array
from ctcnet.export.frame_graph.arrays.recording import Recording, current

OPSET = 18


def inlined(model: ir.Model, inputs: Mapping[str, Array], outputs: Sequence[tuple[str, np.dtype]]) -> list[Array]:
    """Outputs of another model whose nodes are put in; it is used up by this.

    Args:
        model: at the same opset.
        inputs: for each of its inputs.
        outputs: names and types of those wanted.
    """
    recorder, graph = current(), model.graph
    found = {value.name: value for value in graph.outputs}
    for value in graph.inputs:
        ir.convenience.replace_all_uses_with(value, inputs[value.name or ""].value)
    for value in list(graph.initializers.values()):
        graph.initializers.pop(value.name or "")
        value.name = recorder.name("weight")
        recorder.weights.append(value)
    nodes = list(graph)
    graph.outputs.clear()
    graph.remove(nodes)
    for node in nodes:
        node.name = recorder.name(node.op_type)
        for value in node.outputs:
            value.name = recorder.name(node.op_type)
    recorder.nodes.extend(nodes)
    return [Array(found[name], dtype) for name, dtype in outputs]


def model_of(
    graph: Recording, inputs: Sequence[ir.Value], outputs: Mapping[str, Array], shapes: Mapping[str, Sequence[Any]]
) -> ir.Model:
    """The model that a recording makes; `shapes` are those of its outputs, of which two may be one array."""
    values: list[ir.Value] = []
    for name, array in outputs.items():
        value = array.value
        if any(value is other for other in values):  # an array has one name
            node = ir.node("Identity", [value], name=graph.name("Identity"))
            graph.nodes.append(node)
            value = node.outputs[0]
        value.name = name
        value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        value.shape = ir.Shape(shapes[name])
        values.append(value)
    whole_graph = ir.Graph(
        inputs, values, nodes=graph.nodes, initializers=graph.constants, opset_imports={"": OPSET}, name="frame"
    )
    return ir.Model(whole_graph, ir_version=9)
