from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ctcnet.errors import DeadlineError, ModelFileError, SettingError
from ctcnet.runtime import OnnxPredictor, SessionSettings
from ctcnet.runtime.session import LONGEST_DEADLINE_S, MOST_THREADS, ModelSession
from ctcnet.runtime.signature_file import SignatureFile, signature_path

pytestmark = pytest.mark.unit


@pytest.fixture
def slow_model(tmp_path):
    """Multiplies its input (n, n) by itself 400 times."""
    names = ["x", *(f"y{step}" for step in range(400))]
    nodes = [helper.make_node("MatMul", [a, "x"], [b]) for a, b in pairwise(names)]
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", TensorProto.FLOAT, ["n", "n"])], [value(names[-1], TensorProto.FLOAT, ["n", "n"])]
    graph = helper.make_graph(nodes, "slow", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save_model(model, str(tmp_path / "slow.onnx"))
    return tmp_path / "slow.onnx"


def test_call_that_takes_too_long_is_ended_and_the_next_one_answered(slow_model):
    session = ModelSession(slow_model, SessionSettings(threads=1, deadline_s=0.2))
    with pytest.raises(DeadlineError, match=r"slow\.onnx"):
        session.run(["y399"], {"x": np.eye(900, dtype=np.float32)})
    (answer,) = session.run(["y399"], {"x": np.eye(2, dtype=np.float32)})
    np.testing.assert_array_equal(answer, np.eye(2))


def test_nothing_is_computed_while_a_file_is_opened(tmp_path):
    """A file of a few hundred bytes may hold constants that take hours; the call that needs them has a deadline."""
    names = ["a", *(f"a{step}" for step in range(400))]
    ones = onnx.numpy_helper.from_array(np.array([1], np.float32))
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["a"], value=ones)]
    nodes += [helper.make_node("MatMul", [a, "a"], [b]) for a, b in pairwise(names)]
    nodes += [
        helper.make_node("Slice", [names[-1], "zero", "one"], ["part"]),
        helper.make_node("Add", ["x", "part"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    ends = [value(name, TensorProto.FLOAT, [1, "n"]) for name in "xy"]
    constants = {"shape": [900, 900], "zero": [0], "one": [1]}
    stored = [onnx.numpy_helper.from_array(np.array(numbers), name) for name, numbers in constants.items()]
    graph = helper.make_graph(nodes, "constant", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save_model(model, str(tmp_path / "m.onnx"))
    session = ModelSession(tmp_path / "m.onnx", SessionSettings(threads=1, deadline_s=0.2))
    with pytest.raises(DeadlineError):
        session.run(["y"], {"x": np.zeros((1, 900), np.float32)})


def test_inputs_that_cannot_be_run_are_one_clear_error(slow_model, capfd):
    session = ModelSession(slow_model, SessionSettings(threads=1, deadline_s=60))
    with pytest.raises(ModelFileError, match="could not be run"):
        session.run(["y399"], {"x": np.ones((2, 3), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_settings_reach_onnxruntime(write_linear_model, monkeypatch):
    import onnxruntime

    seen = []
    real = onnxruntime.InferenceSession

    def spy(content, options, **others):
        seen.append((options.intra_op_num_threads, options.enable_cpu_mem_arena, others["providers"]))
        return real(content, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    predictor = OnnxPredictor(write_linear_model(), SessionSettings(threads=2, memory_arena=False, deadline_s=60))
    assert seen == [(2, False, ["CPUExecutionProvider"])]
    assert predictor.predict(np.zeros((1, 2, 8, 8), np.uint16)).probabilities.shape == (1, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"provider": "tpu"},
        {"threads": 0},
        {"threads": MOST_THREADS + 1},
        {"threads": 1.5},
        {"threads": "2"},
        {"threads": True},
        {"calls_at_once": 0},
        {"calls_at_once": MOST_THREADS + 1},
        {"calls_at_once": 2.0},
        {"deadline_s": 0},
        {"deadline_s": float("nan")},
        {"deadline_s": "1"},
        {"deadline_s": True},
        {"deadline_s": 2 * LONGEST_DEADLINE_S},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(SettingError):
        SessionSettings(**options)


def test_file_that_was_changed_is_refused(write_linear_model):
    from hashlib import sha256

    path = write_linear_model()
    digest = sha256(path.read_bytes()).hexdigest()
    assert OnnxPredictor(path, expected_sha256=digest.upper()).properties
    with pytest.raises(ModelFileError, match="changed"):
        OnnxPredictor(path, expected_sha256="0" * 64)
    signature_path(path).write_text(SignatureFile(digest, "ab" * 8, "A" * 86 + "==").to_text())
    assert OnnxPredictor(path).card
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="changed"):
        OnnxPredictor(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 1}', "\x00" * 20_000])
def test_malformed_signature_file_is_refused(write_linear_model, text):
    path = write_linear_model()
    signature_path(path).write_text(text)
    with pytest.raises(ModelFileError, match="no signature file"):
        OnnxPredictor(path)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _two_formats(flat: bytes) -> bytes:
    """A file that is the ONNX model y = x, and, by its bytes 4 to 7, a model `flat` of onnxruntime's own format.

    Those bytes are within the name of the producer; the first four, the version of ONNX and the start of that name, are
    where onnxruntime looks for `flat`: within an initializer that the ONNX model does not use.
    """
    start = b"\x08\x08\x12\x04ORTM"
    node = helper.make_node("Identity", ["x"], ["y"]).SerializeToString()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]).SerializeToString() for name in "xy"]
    graph = _field(1, node) + _field(2, b"g") + _field(11, ends[0]) + _field(12, ends[1])
    root = int.from_bytes(start[:4], "little") - int.from_bytes(flat[:4], "little")
    gap = root
    for _ in range(6):
        raw = bytes(gap) + flat
        raw += bytes(-len(raw) % 4)
        tensor = _varint(8) + _varint(len(raw) // 4) + _varint(16) + _varint(1) + _field(8, b"w") + _field(9, raw)
        opset = _field(8, helper.make_opsetid("", 18).SerializeToString())
        file = start + opset + _field(7, graph + _field(5, tensor))
        place = len(file) - len(raw) + gap
        if place == root:
            return file
        gap -= place - root
    raise AssertionError


def test_a_file_is_run_in_the_format_that_was_checked(tmp_path):
    """onnxruntime takes bytes that can be read as either format for its own, and would run a graph nobody checked."""
    import onnxruntime

    value = helper.make_tensor_value_info
    nodes = [helper.make_node("RandomNormal", [], ["y"], shape=[1])]
    graph = helper.make_graph(nodes, "hidden", [], [value("y", TensorProto.FLOAT, [1])])
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "h")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "h.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(tmp_path / "h"), options, providers=["CPUExecutionProvider"])
    content = _two_formats((tmp_path / "h.ort").read_bytes())
    naive = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert not naive.get_inputs(), "onnxruntime runs the hidden graph"

    (tmp_path / "m.onnx").write_bytes(content)
    session = ModelSession(tmp_path / "m.onnx", SessionSettings(threads=1))
    assert [node.name for node in session.inputs] == ["x"]
    (answer,) = session.run(["y"], {"x": np.array([3.0], np.float32)})
    assert answer.tolist() == [3.0]


def test_an_empty_hash_is_no_wildcard(write_linear_model):
    with pytest.raises(ModelFileError, match="not the file it should be"):
        OnnxPredictor(write_linear_model(), expected_sha256="")
