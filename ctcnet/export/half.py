"""Half precision (float16) of the convolutions of a traced graph, for GPUs.

The converters that come with onnxruntime pass every value of the graph through float16, also between two operators that
are to stay in float32: counts above 65,504 would become infinite. Here only what is named leaves float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctcnet.export.layers import Layer, trunk_nodes

if TYPE_CHECKING:
    import onnx

_HALF = "_float16"


def to_float16(model: onnx.ModelProto, layers: Iterable[Layer]) -> onnx.ModelProto:
    """Model with these layers, and the activations, pools and sums of what they give, in float16.

    Inputs and outputs of the graph keep their types; `model` stays as it is.

    Args:
        model: as `trace` gives it.
        layers: of `ctcnet.export.layers.reducible`.
    """
    import onnx

    reduced = onnx.ModelProto()
    reduced.CopyFrom(model)
    graph = reduced.graph
    chosen = set(trunk_nodes(graph, layers))
    made = {name for node in graph.node if node.name in chosen for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    outside = {name for node in graph.node if node.name not in chosen for name in node.input}
    outside |= {value.name for value in graph.output}
    nodes: list[onnx.NodeProto] = []
    there: set[str] = set()
    for node in graph.node:
        if node.name not in chosen:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            half = name + _HALF
            if not name:  # a bound that is left out
                continue
            if name in weights and half not in there:
                values = onnx.numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(onnx.numpy_helper.from_array(values, half))
            elif name not in made and half not in there:
                nodes.append(_cast(name, half, onnx.TensorProto.FLOAT16))
            there.add(half)
            node.input[place] = half
        outputs = list(node.output)
        node.output[:] = [name + _HALF for name in outputs]
        nodes.append(node)
        nodes += [_cast(name + _HALF, name, onnx.TensorProto.FLOAT) for name in outputs if name in outside]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    shapes = [value for value in graph.value_info if value.name not in made]
    parts: tuple[tuple[Any, Sequence[Any]], ...] = (
        (graph.node, nodes),
        (graph.initializer, kept),
        (graph.value_info, shapes),
    )
    for field, values in parts:
        copies: list[Any] = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    return reduced


def _cast(name: str, result: str, to: int) -> onnx.NodeProto:
    import onnx

    return onnx.helper.make_node("Cast", [name], [result], name=f"cast_to_{result}", to=to)
