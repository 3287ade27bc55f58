import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from ctcnet.errors import ModelFileError, ModelPanelError, SettingError
from ctcnet.runtime import OnnxPredictor, SessionSettings

pytestmark = pytest.mark.unit

ONE_THREAD = SessionSettings(threads=1)

NAN = np.full(2, np.nan, dtype=np.float32)


def _crops(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, (count, 2, 8, 8)).astype(np.uint16)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_answers_equal_an_independent_reference(write_linear_model, linear_probabilities, count, dtype):
    predictor = OnnxPredictor(write_linear_model(dtype=dtype), ONE_THREAD)
    crops = _crops(count)
    background, scale = np.array([10, 20], np.float32), np.array([300, 500], np.float32)
    for levels in ((background, scale), (None, None), (background, NAN)):
        answer = predictor.predict(crops, *levels)
        expected = linear_probabilities(crops, *(NAN if level is None else level for level in levels))
        np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
        assert answer.probabilities.shape == (count, 5)
        assert answer.unassigned.dtype == bool
        np.testing.assert_array_equal(answer.unassigned, answer.probabilities.max(axis=1, initial=0) < 0.3)
        assert np.isnan(answer.atypicality).all()
        assert answer.embedding.shape == (count, 2)


def test_card_comes_from_the_file(write_linear_model, two_channel_card):
    assert OnnxPredictor(write_linear_model()).card == two_channel_card


def test_answers_that_are_no_numbers_are_an_error(write_linear_model):
    path = write_linear_model()
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.ndim == 2 and value.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full_like(value, np.nan), tensor.name))
    onnx.save(graph, path)
    with pytest.raises(ModelFileError, match="no numbers") as caught:
        OnnxPredictor(path).predict(np.ones((3, 2, 8, 8), np.uint16))
    assert caught.value.where == str(path)
    assert "3 of 3" in str(caught.value)


def test_uint8_is_taken_as_counts(write_linear_model):
    predictor = OnnxPredictor(write_linear_model(), ONE_THREAD)
    crops = (_crops(3) // 4).astype(np.uint8)
    expected = predictor.predict(crops.astype(np.uint16)).probabilities
    np.testing.assert_array_equal(predictor.predict(crops).probabilities, expected)


@pytest.mark.parametrize(
    ("crops", "error"),
    [
        (np.zeros((1, 3, 8, 8), np.uint16), ModelPanelError),
        (np.zeros((1, 2, 8, 9), np.uint16), SettingError),
        (np.zeros((2, 8, 8), np.uint16), SettingError),
        (np.zeros((1, 2, 8, 8), np.float64), SettingError),
        (np.zeros((1, 2, 8, 8), np.float32), SettingError),
    ],
)
def test_crops_that_do_not_fit_are_refused(write_linear_model, crops, error):
    with pytest.raises(error):
        OnnxPredictor(write_linear_model(), ONE_THREAD).predict(crops)


@pytest.mark.parametrize(
    ("background", "scale"), [([0, 0], [0, 1]), ([0, np.inf], [1, 1]), ([0], [1, 1]), ([0, 0], [-1, 1])]
)
def test_impossible_levels_are_refused(write_linear_model, background, scale):
    with pytest.raises(SettingError, match=r"background|scale"):
        OnnxPredictor(write_linear_model(), ONE_THREAD).predict(_crops(1), np.array(background), np.array(scale))


def test_cuda_is_never_replaced_by_the_cpu(write_linear_model, monkeypatch):
    import onnxruntime

    path = write_linear_model()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelFileError, match="CUDAExecutionProvider"):
        OnnxPredictor(path, SessionSettings("cuda"))


def test_session_that_fell_back_is_refused(write_linear_model, monkeypatch):
    import onnxruntime

    path = write_linear_model()
    real = onnxruntime.InferenceSession
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, *_, **__: real(path, providers=["CPUExecutionProvider"])
    )
    with pytest.raises(ModelFileError, match="device asked for"):
        OnnxPredictor(path, SessionSettings("cuda"))


def _corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no model")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_corrupt, _garbage, _empty, Path.unlink])
def test_file_that_is_no_model_is_refused(write_linear_model, damage):
    path = write_linear_model()
    damage(path)
    with pytest.raises(ModelFileError, match=path.name):
        OnnxPredictor(path)


def _rewrite_card(path: Path, text: str) -> None:
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"ctcnet_card": text})
    onnx.save_model(model, str(path))


def test_file_without_a_card_is_refused(write_linear_model):
    with pytest.raises(ModelFileError, match="no model card"):
        OnnxPredictor(write_linear_model(with_card=False))


@pytest.mark.parametrize("text", ["{", "[1]", json.dumps({"name": "x"})])
def test_malformed_card_is_refused(write_linear_model, text):
    path = write_linear_model()
    _rewrite_card(path, text)
    with pytest.raises(ModelFileError):
        OnnxPredictor(path)


def test_graph_with_other_outputs_is_refused(write_linear_model):
    import onnx

    path = write_linear_model()
    model = onnx.load(str(path))
    del model.graph.output[-1]
    onnx.save_model(model, str(path))
    with pytest.raises(ModelFileError, match="inputs or outputs"):
        OnnxPredictor(path)


@pytest.mark.parametrize("name", ["atypicality", "embedding"])
def test_output_of_another_number_of_axes_is_refused(write_linear_model, name):
    import onnx

    path = write_linear_model()
    model = onnx.load(str(path))
    output = next(value for value in model.graph.output if value.name == name)
    shape = output.type.tensor_type.shape.dim
    if len(shape) == 2:
        del shape[1]
    else:
        shape.add(dim_value=1)
    onnx.save_model(model, str(path))
    with pytest.raises(ModelFileError):
        OnnxPredictor(path)


@pytest.mark.parametrize(("name", "dtype"), [("probabilities", "DOUBLE"), ("unassigned", "INT64")])
def test_output_of_another_type_is_refused(write_linear_model, name, dtype):
    path = write_linear_model()
    model = onnx.load(str(path))
    kind = getattr(onnx.TensorProto, dtype)
    for node in model.graph.node:
        node.output[:] = ["inner" if output == name else output for output in node.output]
        node.input[:] = ["inner" if value == name else value for value in node.input]
    model.graph.node.append(onnx.helper.make_node("Cast", ["inner"], [name], to=kind))
    next(value for value in model.graph.output if value.name == name).type.tensor_type.elem_type = kind
    onnx.save_model(model, str(path))
    with pytest.raises(ModelFileError, match=f"another type of '{name}'"):
        OnnxPredictor(path)


def test_answers_that_are_not_one_for_each_crop_are_an_error(write_linear_model):
    path = write_linear_model()
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.output[:] = ["all" if output == "unassigned" else output for output in node.output]
    for place, value in (("from", [0]), ("to", [2])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), place))
    model.graph.node.append(onnx.helper.make_node("Slice", ["all", "from", "to"], ["unassigned"]))
    output = next(value for value in model.graph.output if value.name == "unassigned")
    output.type.tensor_type.shape.dim[0].dim_param = "other"
    onnx.save_model(model, str(path))
    with pytest.raises(ModelFileError, match="once for each crop"):
        OnnxPredictor(path).predict(_crops(3))
