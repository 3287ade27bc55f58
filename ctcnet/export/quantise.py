"""INT8 by calibration (static, per channel, QDQ) of the convolutions of a traced graph."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ctcnet.export.channel_ranges import bounds_of_activations, with_even_channels
from ctcnet.export.layer_inputs import Feed, input_moments, plain_convolutions
from ctcnet.export.layers import Layer, trunk_nodes
from ctcnet.export.onnx_file import for_old_runtimes, quiet
from ctcnet.export.weight_rounding import RoundedWeights, round_weights

if TYPE_CHECKING:
    import onnx


class Quantiser:
    """Makes INT8 models of one float32 model.

    Activations are unsigned, their ranges those seen in the calibration, which `ctcnet.export.channel_ranges` makes
    alike over channels; weights are signed with one scale per filter: the pair that processors multiply fastest.
    Weights are rounded by `ctcnet.export.weight_rounding`.

    Args:
        model: as `trace` gives it; stays as it is.
        feeds: inputs of the graph to calibrate on.
    """

    def __init__(self, model: onnx.ModelProto, feeds: Sequence[Feed]) -> None:
        self._model, self._feeds = model, feeds

    @cached_property
    def _bounds(self) -> dict[str, np.ndarray]:
        return bounds_of_activations(self._model, self._feeds)

    def to_int8(self, layers: Iterable[Layer]) -> onnx.ModelProto:
        """The model with these layers, of `ctcnet.export.layers.reducible`, in INT8."""
        layers = list(layers)
        nodes = [layer.node for layer in layers]
        model = with_even_channels(self._model, nodes, self._bounds)
        reduced = self._quantised(model, layers)
        for layer in plain_convolutions(model.graph, nodes):
            moments = input_moments(model, reduced, layer, self._feeds)
            rounded = round_weights(layer.weights.reshape(len(layer.bias), -1), layer.bias, moments)
            _set_weights(reduced.graph, layer.node, rounded)
        return for_old_runtimes(reduced)

    def _quantised(self, model: onnx.ModelProto, layers: Iterable[Layer]) -> onnx.ModelProto:
        """Rounded by onnxruntime's tools: 7 bits, with which no two weights overflow."""
        import onnx
        from onnxruntime import quantization as q

        feeds = iter(self._feeds)

        class Reader(q.CalibrationDataReader):
            def get_next(self) -> Feed | None:
                return next(feeds, None)

        nodes = trunk_nodes(model.graph, layers)
        operators = sorted({node.op_type for node in model.graph.node if node.name in nodes})
        with tempfile.TemporaryDirectory() as folder, quiet():
            plain, reduced = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
            onnx.save_model(model, str(plain))
            q.quantize_static(
                plain,
                reduced,
                Reader(),
                quant_format=q.QuantFormat.QDQ,
                op_types_to_quantize=operators,
                nodes_to_quantize=list(nodes),
                per_channel=True,
                reduce_range=True,
                activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
            )
            return onnx.load(str(reduced))


def _set_weights(graph: onnx.GraphProto, name: str, rounded: RoundedWeights) -> None:
    """Put weights into a convolution of a quantised graph."""
    import onnx

    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    node = next(node for node in graph.node if node.name == name)
    given, weights, bias = (makers[value].input for value in node.input)
    step = onnx.numpy_helper.to_array(constants[given[1]]) * rounded.scale
    for place, values in (
        (weights[0], rounded.weights),
        (weights[1], rounded.scale),
        (bias[0], np.round(rounded.bias / step)),
        (bias[1], step),
    ):
        old = onnx.numpy_helper.to_array(constants[place])
        constants[place].CopyFrom(onnx.numpy_helper.from_array(values.astype(old.dtype).reshape(old.shape), place))
