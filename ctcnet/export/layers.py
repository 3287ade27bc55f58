"""Convolutional layers of a traced graph: what can be made INT8 or half precision, and by what names users know it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctcnet.errors import SettingError

if TYPE_CHECKING:
    import onnx

_FOLLOWERS = ("Relu", "Clip", "MaxPool", "Add")
"""Operators that work in the precision of the layers before them."""
_BOUNDED = "Clip"
"""Operator whose second and third input are constants: the bounds."""


@dataclass(frozen=True)
class Layer:
    """A convolution.

    Attributes:
        name: of its weight in the network, such as 'backbone.convolutions.2.0'.
        node: name of its node in the graph.
    """

    name: str
    node: str


def convolutions(graph: onnx.GraphProto) -> tuple[Layer, ...]:
    """Convolutions with weights of their own, in the order of the graph."""
    weights = {tensor.name for tensor in graph.initializer}
    return tuple(
        Layer(node.input[1].removeprefix("network.").removesuffix(".weight"), node.name)
        for node in graph.node
        if node.op_type == "Conv" and node.input[1] in weights
    )


def reducible(graph: onnx.GraphProto) -> tuple[Layer, ...]:
    """Layers that may leave float32: every convolution but the first, which sees dim and bright stains on one scale.

    Statistics, the head, atypicality and everything before the first convolution are no convolutions and stay.
    """
    return convolutions(graph)[1:]


def check_kept(names: Iterable[str], layers: Collection[Layer]) -> frozenset[str]:
    """The names of layers that a user wants to keep in float32.

    Raises:
        SettingError: a layer of that name is none that could be reduced.
    """
    kept, known = frozenset(names), [layer.name for layer in layers]
    unknown = sorted(kept - set(known))
    if unknown:
        raise SettingError(
            f"no layer of this name could be other than float32: {', '.join(unknown)}",
            where="--keep-float",
            expected=", ".join(known) or "nothing: the model has no such layer",
        )
    return kept


def trunk_nodes(graph: onnx.GraphProto, layers: Iterable[Layer]) -> tuple[str, ...]:
    """Names of the nodes of these layers, and of activations, pools and sums of what they give."""
    chosen = {layer.node for layer in layers}
    weights = {tensor.name for tensor in graph.initializer}
    made: set[str] = set()
    names = []
    for node in graph.node:
        values = set(node.input[:1] if node.op_type == _BOUNDED else node.input)
        follows = node.op_type in _FOLLOWERS and made & values and not weights & values
        if node.name in chosen or follows:
            names.append(node.name)
            made |= set(node.output)
    return tuple(names)
