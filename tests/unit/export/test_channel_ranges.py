"""Channels of an activation brought to one range: the same answers, and finer steps for quiet channels."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ctcnet.export.channel_ranges import (
    LEAST_SHARE,
    ROOM,
    bounds_of_activations,
    channel_bounds,
    with_even_channels,
)

pytestmark = pytest.mark.unit

BOUND, QUIET = 6.0, 0.05


def _model(outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    """Two convolutions with a bounded activation between them, of which the first channel stays quiet."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(3, 4, 3, 3))
    first[0] *= QUIET
    second[:, 0] /= QUIET
    constants = {"w1": first, "b1": rng.normal(size=4) * QUIET, "w2": second, "b2": rng.normal(size=3)}
    constants |= {"low": np.zeros(()), "high": np.full((), BOUND)}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["before"], "first"),
        helper.make_node("Clip", ["before", "low", "high"], ["middle"], "clip"),
        helper.make_node("Conv", ["middle", "w2", "b2"], ["y"], "second"),
    ]
    graph = helper.make_graph(
        nodes,
        "pair",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 9, 9])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(50, 2, 9, 9)).astype(np.float32)} for _ in range(2)]


def _even(model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]], nodes: tuple[str, ...] = ("second",)):
    return with_even_channels(model, nodes, bounds_of_activations(model, feeds))


def _run(model: onnx.ModelProto, feed: dict[str, np.ndarray], name: str = "y") -> np.ndarray:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    if name != "y":
        shown.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], feed)[0])


def _rounded(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    """Answers where the activation in the middle is rounded to 255 steps of the bound."""
    step = onnx.ModelProto()
    step.CopyFrom(model)
    scale, zero = np.float32(BOUND / 255), np.uint8(0)
    step.graph.initializer.extend([numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(zero, "zero")])
    step.graph.node[2].input[0] = "read"
    step.graph.node.insert(2, helper.make_node("QuantizeLinear", ["middle", "scale", "zero"], ["written"]))
    step.graph.node.insert(3, helper.make_node("DequantizeLinear", ["written", "scale", "zero"], ["read"]))
    return _run(step, feed)


def test_answers_stay_and_rounding_costs_less(feeds) -> None:
    model = _model()
    even = _even(model, feeds)
    for feed in feeds:
        np.testing.assert_allclose(_run(even, feed), _run(model, feed), rtol=1e-4, atol=1e-4)
        error = [np.abs(_rounded(found, feed) - _run(model, feed)).mean() for found in (even, model)]
        assert error[0] < 0.5 * error[1]


def test_every_channel_has_room_for_what_was_seen(feeds) -> None:
    largest = np.max([_run(_model(), feed, "middle").max((0, 2, 3)) for feed in feeds], axis=0)
    even = _even(_model(), feeds)
    found = np.max([_run(even, feed, "middle").max((0, 2, 3)) for feed in feeds], axis=0)
    assert largest[0] < 0.2 * BOUND
    np.testing.assert_allclose(found[0], min(BOUND / ROOM, largest[0] / LEAST_SHARE), rtol=1e-3)
    assert (found <= BOUND).all()


def test_an_activation_that_others_see_stays(feeds) -> None:
    for outputs in (("y", "middle"), ("y", "before")):
        model = _model(outputs)
        assert _even(model, feeds) == model


@pytest.mark.parametrize("given", ["middle", "before"])
def test_an_activation_that_another_operator_is_given_stays(feeds, given) -> None:
    model = _model()
    model.graph.node.append(helper.make_node("Abs", [given], ["other"], "other"))
    assert _even(model, feeds) == model


@pytest.mark.parametrize("shared", [1, 2])
def test_constants_that_another_convolution_has_too_stay(feeds, shared) -> None:
    model = _model()
    own = ["x", "w3", "b3"]
    own[shared] = model.graph.node[0].input[shared]
    rng = np.random.default_rng(2)
    for name, shape in (("w3", (4, 2, 3, 3)), ("b3", (4,))):
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    model.graph.node.append(helper.make_node("Conv", own, ["other"], "third"))
    assert _even(model, feeds) == model


def test_convolutions_that_were_not_chosen_stay(feeds) -> None:
    assert _even(_model(), feeds, ("first",)) == _model()


def test_bounds_of_channels_lie_between_the_least_share_and_the_bound() -> None:
    values = np.stack([np.zeros((2, 3, 3)), np.full((2, 3, 3), 1.0), np.full((2, 3, 3), 6.0)], axis=1)
    np.testing.assert_allclose(channel_bounds([values, 0.5 * values], BOUND), [BOUND * LEAST_SHARE, ROOM, BOUND])
