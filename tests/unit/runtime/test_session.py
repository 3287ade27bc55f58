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


def test_inputs_that_cannot_be_run_are_one_clear_error(slow_model, capfd):
    session = ModelSession(slow_model, SessionSettings(threads=1, deadline_s=60))
    with pytest.raises(ModelFileError, match="could not be run"):
        session.run(["y399"], {"x": np.ones((2, 3), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_settings_reach_onnxruntime(write_linear_model, monkeypatch):
    import onnxruntime

    seen = []
    real = onnxruntime.InferenceSession

    def spy(content, options, providers):
        seen.append((options.intra_op_num_threads, options.enable_cpu_mem_arena, providers))
        return real(content, options, providers)

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
