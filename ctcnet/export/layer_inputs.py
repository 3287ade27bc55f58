"""What convolutions of a traced graph are given, on average, over calibration crops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
        if node.name not in chosen or len(node.input) < 3 or any(name not in constants for name in node.input[1:3]):
            continue
        settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if settings.get("group", 1) != 1 or set(settings.get("dilations", (1,))) != {1}:
            continue
        weights, bias = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        strides, pads = settings.get("strides", (1, 1)), settings.get("pads", (0, 0, 0, 0))
        found.append(Convolution(node.name, node.input[0], weights, bias, strides, pads))
    return found


def input_moments(
    model: onnx.ModelProto, reduced: onnx.ModelProto, layer: Convolution, feeds: Sequence[Feed]
) -> InputMoments | None:
    """What the filters of a convolution see; None where they have more than `MOST_WEIGHTS`.

    Args:
        model: the float32 model, of which the layer is.
        reduced: the same in reduced precision, with a node of the same name.
        layer: the convolution.
        feeds: inputs of the graph, at least one.
    """
    size = layer.weights[0].size
    if size > MOST_WEIGHTS:
        return None
    given = next(node.input[0] for node in reduced.graph.node if node.name == layer.node)
    number, total, products = 0, np.zeros(2 * size), np.zeros((size, 2 * size))
    rng = np.random.default_rng(0)
    for values in zip(values_of(model, layer.given, feeds), values_of(reduced, given, feeds), strict=True):
        seen, seen_reduced = _patches(np.stack(values), layer, rng)
        both = np.hstack([seen_reduced, seen])
        number += len(both)
        total += both.sum(axis=0, dtype=np.float64)
        products += seen_reduced.T @ both
    reduced_mean, mean = np.split(total / number, 2)
    covariance, cross = np.split(products / number - np.outer(reduced_mean, total / number), 2, axis=1)
    return InputMoments(mean, reduced_mean, covariance, cross)


def values_of(model: onnx.ModelProto, name: str, feeds: Sequence[Feed]) -> Iterator[np.ndarray]:
    """A value inside a graph, for each feed."""
    import onnx
    import onnxruntime

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no notes on outputs without a shape
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for feed in feeds:
        yield np.asarray(session.run([name], feed)[0])


def _patches(values: np.ndarray, layer: Convolution, rng: np.random.Generator) -> list[np.ndarray]:
    """What the filters see of each of (M, N, I, H, W) at `PATCHES` random places; float32 (places, I * K * K) each."""
    top, left, bottom, right = layer.pads
    padded = np.pad(values, ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.weights.shape[2:], (3, 4))
    windows = windows[:, :, :, :: layer.strides[0], :: layer.strides[1]]
    _, count, _, height, width = windows.shape[:5]
    places = rng.choice(count * height * width, min(PATCHES, count * height * width), replace=False)
    crop, row, column = np.unravel_index(places, (count, height, width))
    return [model[crop, :, row, column].reshape(len(places), -1) for model in windows]
