"""Tensors that a model was not made for: Python, Node.js and WebAssembly answer alike, or all refuse."""

import sys

import numpy as np
import pytest
from runtime_cases import Case, read_answers, write_cases

pytestmark = pytest.mark.integration

CHANNELS, SIDE = 5, 64
NAN = np.full(CHANNELS, np.nan, np.float32)
LEVEL = np.full(CHANNELS, 300, np.float32)
COUNTS = np.random.default_rng(0).integers(40, 4096, (3, CHANNELS, SIDE, SIDE)).astype(np.uint16)
FRAME = np.random.default_rng(1).integers(40, 90, (CHANNELS, 70, 90)).astype(np.uint16)
FRAME[:, 20:32, 30:42] += 900
FRAME[:2, 48:58, 10:20] += 600


def _crops(crops: np.ndarray, background: np.ndarray = NAN, scale: np.ndarray = NAN) -> dict[str, np.ndarray]:
    return {"crops": crops, "background": background, "scale": scale}


def _frame(
    frame: np.ndarray, most: int = 4096, level: np.ndarray = NAN, background: np.ndarray = NAN
) -> dict[str, np.ndarray]:
    return {"frame": frame, "background": background, "scale": level, "max_events": np.array([most], np.int64)}


REFUSED_CROPS = {
    "float32 counts": _crops(COUNTS.astype(np.float32)),
    "signed counts": _crops(COUNTS.astype(np.int16)),
    "8-bit counts": _crops(COUNTS.astype(np.uint8)),
    "four channels": _crops(COUNTS[:, :4]),
    "smaller crops": _crops(COUNTS[:, :, :32, :32]),
    "one crop without its axis": _crops(COUNTS[0]),
    "levels of four channels": _crops(COUNTS, NAN[:4], NAN[:4]),
    "levels as float64": _crops(COUNTS, NAN.astype(np.float64), NAN),
}
ANSWERED_CROPS = {
    "no crops": _crops(COUNTS[:0]),
    "usual counts": _crops(COUNTS),
    "zeros": _crops(0 * COUNTS),
    "saturated at 12 bits": _crops(0 * COUNTS + 4095),
    "saturated at 16 bits": _crops(0 * COUNTS + 65535),
    "one level NaN": _crops(COUNTS, np.where(np.arange(CHANNELS) == 1, LEVEL, np.nan).astype(np.float32), LEVEL),
    "infinite background": _crops(COUNTS, np.full(CHANNELS, np.inf, np.float32), LEVEL),
    "scale of 0": _crops(COUNTS, LEVEL, 0 * LEVEL),
}
REFUSED_FRAMES = {
    "float32 counts": _frame(FRAME.astype(np.float32)),
    "four channels": _frame(FRAME[:4]),
    "a batch axis": _frame(FRAME[None]),
    "levels of four channels": _frame(FRAME, level=NAN[:4]),
    "no pixels": _frame(FRAME[:, :0, :0]),
}
ANSWERED_FRAMES = {
    "usual counts": _frame(FRAME),
    "1 x 1": _frame(FRAME[:, :1, :1]),
    "15 pixels high": _frame(FRAME[:, 20:35]),
    "infinite background": _frame(FRAME, background=np.full(CHANNELS, np.inf, np.float32)),
    "scale of 0": _frame(FRAME, level=0 * LEVEL),
    "scale below 0": _frame(FRAME, level=-LEVEL),
    "smaller than a crop": _frame(FRAME[:, 10:50, 20:60]),
    "zeros": _frame(0 * FRAME),
    "saturated": _frame(0 * FRAME + 65535),
    "no events asked for": _frame(FRAME, most=0),
    "a negative number of events": _frame(FRAME, most=-3),
    "more events than pixels": _frame(FRAME, most=10**12),
}


@pytest.fixture(params=["node", "web"])
def run_both(request, node, examples, call, tmp_path):
    """Answers of Python, and of a runtime of Node.js, to cases given by name."""

    def run(model, inputs: dict) -> tuple:
        write_cases([Case(name, tensors) for name, tensors in inputs.items()], tmp_path / "cases")
        call(sys.executable, examples / "python" / "run_cases.py", model, tmp_path / "cases", tmp_path / "python")
        web = ["--web"] if request.param == "web" else []
        call("node", node / "run_cases.mjs", model, tmp_path / "cases", tmp_path / "node", *web)
        return tuple(read_answers(tmp_path / name)[1] for name in ("python", "node"))

    return run


@pytest.mark.parametrize("kind", ["crop", "frame"])
def test_wrong_type_or_shape_is_an_error_everywhere(run_both, request, kind):
    cases = REFUSED_CROPS if kind == "crop" else REFUSED_FRAMES
    model = request.getfixturevalue("crop_model" if kind == "crop" else "frame_model")
    for answers in run_both(model, cases):
        assert [answer.name for answer in answers if answer.error is None] == []


@pytest.mark.parametrize("kind", ["crop", "frame"])
def test_any_values_of_the_right_type_are_answered_alike(run_both, request, kind):
    cases = ANSWERED_CROPS if kind == "crop" else ANSWERED_FRAMES
    model = request.getfixturevalue("crop_model" if kind == "crop" else "frame_model")
    for first, second in zip(*run_both(model, cases), strict=True):
        assert (first.error, second.error) == (None, None), first.name
        for name, expected in first.outputs.items():
            close = {"rtol": 1e-3, "atol": 1e-3 * max(1, np.abs(expected[np.isfinite(expected)]).max(initial=0))}
            if name == "atypicality" and (expected > 2).all():  # of saturated crops it rests on rounding, far above 1
                close = {"rtol": 0.05}
            np.testing.assert_allclose(second.outputs[name], expected, **close, err_msg=f"{first.name}: {name}")


def test_frames_give_what_the_table_says(run_both, frame_model):
    for answers in run_both(frame_model, ANSWERED_FRAMES):
        found = {answer.name: answer.outputs for answer in answers}
        events = {name: len(outputs["x_px"]) for name, outputs in found.items()}
        assert events["usual counts"] == events["more events than pixels"] > 0
        assert events["smaller than a crop"] > 0
        for name in ("infinite background", "scale of 0", "scale below 0"):
            np.testing.assert_array_equal(found[name]["probabilities"], found["usual counts"]["probabilities"])
        empty = "1 x 1", "15 pixels high", "zeros", "saturated", "no events asked for", "a negative number of events"
        for name in empty:
            assert events[name] == 0, name
        assert found["no events asked for"]["truncated"]
