"""INT8 by calibration (static, per channel, QDQ) of the convolutions of a traced graph."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ctcnet.export.layers import Layer, trunk_nodes
from ctcnet.export.onnx_file import for_old_runtimes, quiet

if TYPE_CHECKING:
    import onnx

Feed = dict[str, np.ndarray]


def to_int8(model: onnx.ModelProto, layers: Iterable[Layer], feeds: Sequence[Feed]) -> onnx.ModelProto:
    """Model with these layers in INT8; `model` stays as it is.

    Activations are unsigned, weights signed with one scale per filter: the pair that processors multiply fastest.
    Weights use 7 bits: with 8, processors without VNNI overflow their 16-bit sums and would give other answers.

    Args:
        model: as `trace` gives it.
        layers: of `ctcnet.export.layers.reducible`.
        feeds: inputs of the graph; ranges of the activations are those seen in them.
    """
    import onnx
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

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
        return for_old_runtimes(onnx.load(str(reduced)))
