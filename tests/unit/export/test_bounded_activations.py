"""Reduced precision of a network whose activations are bounded, which makes them Clip instead of Relu."""

import math
import re

import numpy as np
import onnx
import onnxruntime
import pytest

from ctcnet.export import Reduction, export_predictor
from ctcnet.export.layers import reducible, trunk_nodes
from ctcnet.export.reference_crops import divide

pytestmark = pytest.mark.unit

LIMIT = 0.5


@pytest.fixture(scope="module")
def predictor(make_deep_predictor):
    return make_deep_predictor(LIMIT)


@pytest.fixture(scope="module")
def files(predictor, crops, tmp_path_factory):
    """The float32, the INT8 and the float16 file."""
    folder = tmp_path_factory.mktemp("exported")
    wanted = {"float32": None, "int8": Reduction("int8", divide(crops, "crops")), "fp16": Reduction("fp16", None)}
    return {
        name: export_predictor(predictor, folder / f"{name}.onnx", reduction=reduction).model
        for name, reduction in wanted.items()
    }


def _operators(path) -> list[str]:
    """Operators as onnxruntime runs them on this processor, the fused activation in brackets."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimised"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    fused = [[a.s.decode() for a in node.attribute if a.name == "activation"] for node in nodes]
    return [node.op_type + "".join(f"({name})" for name in names) for node, names in zip(nodes, fused, strict=True)]


def test_activations_belong_to_the_layers_before_them(files):
    graph = onnx.load(files["float32"]).graph
    kinds = {node.name: node.op_type for node in graph.node}
    assert [kinds[name] for name in trunk_nodes(graph, reducible(graph))] == ["Conv", "Clip", "Conv", "Add", "Clip"]


def test_int8_keeps_no_clip_between_its_layers(files):
    graph = onnx.load(files["int8"]).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    steps = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    clipped = [made[node.input[0]].op_type for node in steps]
    assert clipped.count("Clip") == 1, "that of the first layer, which stays in float32"
    for node in steps:
        if not math.isclose(constants[node.input[2]], 0):
            continue  # what is summed may be negative
        assert 255 * constants[node.input[1]] <= LIMIT * 1.0001
    assert (
        sum(node.op_type == "Clip" for node in graph.node)
        == sum(node.op_type == "Clip" for node in onnx.load(files["float32"]).graph.node) - 2
    )


def test_onnxruntime_fuses_the_bounds(files):
    assert any(re.fullmatch(r"(Fused)?Conv\(Clip\)", name) for name in _operators(files["float32"]))
    assert _operators(files["int8"]).count("QLinearConv") == 2


def test_half_precision_reaches_through_the_bounds(files):
    graph = onnx.load(files["fp16"]).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    clips = [node for node in graph.node if node.op_type == "Clip" and node.output[0].endswith("_float16")]
    assert len(clips) == 2
    assert {kinds[name] for node in clips for name in node.input[1:]} == {onnx.TensorProto.FLOAT16}


def test_decisions_stay(predictor, files, crops):
    pixels = crops.source.read(np.arange(100), None, 0)
    expected = predictor.predict(pixels).probabilities
    feed = {"crops": pixels, **dict.fromkeys(("background", "scale"), np.full(2, np.nan, np.float32))}
    for name, tolerance in {"float32": 1e-5, "int8": 0.02, "fp16": 0.005}.items():
        session = onnxruntime.InferenceSession(str(files[name]), providers=["CPUExecutionProvider"])
        assert np.abs(session.run(["probabilities"], feed)[0] - expected).max() < tolerance
