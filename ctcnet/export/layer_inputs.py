"""What convolutions of a traced graph are given, on average, over calibration crops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ctcnet.export.weight_rounding import InputMoments

if TYPE_CHECKING:
    import onnx

Feed = dict[str, np.ndarray]

PATCHES = 2048
"""Places of each feed at which the input of a layer is looked at."""
MOST_WEIGHTS = 2500
"""Weights of a filter above which its inputs are not looked at: their covariance would be slow to invert."""


@dataclass(frozen=True)
class Convolution:
    """A convolution with a bias and without groups.

    Attributes:
        node: name of its node.
        given: name of its input.
        weights: (O, I, K, K) float32.
        bias: (O,) float32.
        strides: two.
        pads: begin and end of both axes, as in ONNX.
    """

    node: str
    given: str
    weights: np.ndarray
    bias: np.ndarray
    strides: Sequence[int]
    pads: Sequence[int]


def plain_convolutions(graph: onnx.GraphProto, nodes: Iterable[str]) -> list[Convolution]:
    """Those of these nodes that are convolutions with a bias, without groups and without dilation."""
    import onnx

    chosen = set(nodes)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.name not in chosen or len(node.input) < 3 or node.input[2] not in constants:
            continue
        settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if settings.get("group", 1) != 1 or set(settings.get("dilations", (1,))) != {1}:
            continue
        weights, bias = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        strides, pads = settings.get("strides", (1, 1)), settings.get("pads", (0, 0, 0, 0))
        found.append(Convolution(node.name, node.input[0], weights, bias, strides, pads))
    return found


def input_moments(
    model: onnx.ModelProto, convolutions: Sequence[Convolution], feeds: Sequence[Feed]
) -> dict[str, InputMoments]:
    """Mean and covariance of what the filters of each convolution see, by name of the node.

    Args:
        model: the float32 model.
        convolutions: of it; those with filters of more than `MOST_WEIGHTS` are left out.
        feeds: inputs of the graph, at least one.
    """
    import onnx
    import onnxruntime

    small = [layer for layer in convolutions if layer.weights[0].size <= MOST_WEIGHTS]
    if not small:
        return {}
    names = sorted({layer.given for layer in small})
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no notes on outputs without a shape
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng, number = np.random.default_rng(0), dict.fromkeys((layer.node for layer in small), 0)
    sums = {layer.node: np.zeros(layer.weights[0].size) for layer in small}
    products = {layer.node: np.zeros((layer.weights[0].size,) * 2) for layer in small}
    for feed in feeds:
        given = dict(zip(names, session.run(names, feed), strict=True))
        for layer in small:
            patches = _patches(np.asarray(given[layer.given]), layer, rng)
            number[layer.node] += len(patches)
            sums[layer.node] += patches.sum(axis=0, dtype=np.float64)
            products[layer.node] += patches.T @ patches
    means = {name: total / number[name] for name, total in sums.items()}
    return {
        name: InputMoments(mean, products[name] / number[name] - np.outer(mean, mean)) for name, mean in means.items()
    }


def _patches(values: np.ndarray, layer: Convolution, rng: np.random.Generator) -> np.ndarray:
    """What the filters see of (N, I, H, W) at `PATCHES` random places; float32 (places, I * K * K)."""
    top, left, bottom, right = layer.pads
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.weights.shape[2:], (2, 3))
    windows = windows[:, :, :: layer.strides[0], :: layer.strides[1]]
    count, _, height, width = windows.shape[:4]
    places = rng.choice(count * height * width, min(PATCHES, count * height * width), replace=False)
    crop, row, column = np.unravel_index(places, (count, height, width))
    return windows[crop, :, row, column].reshape(len(places), -1)
