"""Channels of an activation brought to one range, so that 8 bits serve each of them.

A bounded activation has one scale for all of its channels, and in a trained network some hardly reach a tenth of the
bound: they would be left a few steps of it, and the next convolution has its largest weights there. The convolution
before is multiplied by a factor for each channel and the one behind divided by it (Nagel et al. 2019, equalisation
across layers, here for the activations). The bound then stands for less in such a channel. Nothing is cut that was
seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ctcnet.export.layer_inputs import Convolution, Feed, plain_convolutions, values_of

if TYPE_CHECKING:
    import onnx

ROOM = 1.25
"""Largest value that a channel has room for below the bound, over the largest that was seen. In INT8 all of it is there
where some channel comes near the bound: the range ends at what calibration sees of all channels together."""
LEAST_SHARE = 1 / 16
"""Of the bound, for channels that are next to nothing."""


@dataclass(frozen=True)
class _Pair:
    """A convolution, its bounded activation, and a convolution that alone is given that.

    Attributes:
        before, behind: the convolutions.
        activation: name of the value between.
        bound: largest value of the activation.
    """

    before: Convolution
    behind: Convolution
    activation: str
    bound: float


def bounds_of_activations(model: onnx.ModelProto, feeds: Sequence[Feed]) -> dict[str, np.ndarray]:
    """`channel_bounds` of each activation that can be spread, by its name.

    Args:
        model: float32, as `trace` gives it.
        feeds: inputs of the graph to measure on, at least one.
    """
    pairs = _pairs(model.graph)
    return {pair.activation: channel_bounds(values_of(model, pair.activation, feeds), pair.bound) for pair in pairs}


def with_even_channels(
    model: onnx.ModelProto, nodes: Iterable[str], bounds: Mapping[str, np.ndarray]
) -> onnx.ModelProto:
    """The model with activations before these convolutions spread over channels; it answers alike where none exceeds
    `ROOM` times what was seen.

    Args:
        model: float32, as `trace` gives it; stays as it is.
        nodes: names of convolutions, of which those are served that have one bounded activation and one convolution
            before them, all with constants of their own.
        bounds: of `bounds_of_activations`.
    """
    import onnx

    even = onnx.ModelProto()
    even.CopyFrom(model)
    chosen = set(nodes)
    pairs = [pair for pair in _pairs(model.graph) if pair.behind.node in chosen]
    for pair in pairs:
        factor = pair.bound / bounds[pair.activation]
        _scale(even.graph, pair.before.node, 1, factor[:, None, None, None])
        _scale(even.graph, pair.before.node, 2, factor)
        _scale(even.graph, pair.behind.node, 1, 1 / factor[None, :, None, None])
    return even


def channel_bounds(values: Iterable[np.ndarray], bound: float) -> np.ndarray:
    """What the bound is to stand for in each channel.

    Args:
        values: (N, C, H, W) float, 0 to `bound`, one or more.
        bound: above 0.

    Returns:
        (C,) float64, above 0 and at most `bound`.
    """
    largest = np.stack([part.max(axis=(0, 2, 3)) for part in values]).max(axis=0)
    return np.clip(ROOM * largest.astype(np.float64), LEAST_SHARE * bound, bound)


def _pairs(graph: onnx.GraphProto) -> list[_Pair]:
    """Pairs of convolutions of a graph with a bounded activation between them that nothing else is given, and with
    weights and biases that nothing else has.
    """
    import onnx

    constants = {tensor.name: tensor for tensor in graph.initializer}
    given_to: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            given_to.setdefault(name, []).append(node.name)
    every = plain_convolutions(graph, [node.name for node in graph.node if node.op_type == "Conv"])
    behind = {layer.given: layer for layer in every}
    output = {node.output[0]: node.name for node in graph.node}
    results = {value.name for value in graph.output}
    by_node = {layer.node: layer for layer in every}
    inputs = {node.name: node.input for node in graph.node}
    pairs = []
    for node in graph.node:
        activation = node.output[0] if node.op_type == "Clip" else ""
        before = by_node.get(output.get(node.input[0], "")) if activation else None
        if before is None or activation not in behind or len(node.input) < 3:
            continue
        constant = [name for layer in (before, behind[activation]) for name in inputs[layer.node][1:3]]
        alone = all(len(given_to[name]) == 1 for name in (node.input[0], activation, *constant))
        low, high = (constants.get(name) for name in node.input[1:3])
        if not alone or results & {node.input[0], activation} or low is None or high is None:
            continue
        if float(onnx.numpy_helper.to_array(low)) == 0 < (bound := float(onnx.numpy_helper.to_array(high))):
            pairs.append(_Pair(before, behind[activation], activation, bound))
    return pairs


def _scale(graph: onnx.GraphProto, node: str, place: int, factor: np.ndarray) -> None:
    """Multiply a constant input of a node."""
    import onnx

    name = next(entry for entry in graph.node if entry.name == node).input[place]
    tensor = next(entry for entry in graph.initializer if entry.name == name)
    values = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array((values * factor).astype(values.dtype), name))
