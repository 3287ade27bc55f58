import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ctcnet.cli import main
from ctcnet.export.parity import random_crops
from ctcnet.runtime import OnnxPredictor, SessionSettings

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts" / "benchmarks"))


@pytest.fixture(scope="session")
def examples() -> Path:
    return ROOT / "scripts" / "examples"


@pytest.fixture(scope="session")
def model() -> Path:
    """The shipped model."""
    return ROOT / "models" / "ctcnet-s" / "model.onnx"


@pytest.fixture(scope="session")
def crop_model(tmp_path_factory) -> Path:
    """The shipped weights as the crop graph that the code of today writes."""
    path = tmp_path_factory.mktemp("exported") / "crop.onnx"
    assert main(["export", "ctcnet-s", "--panel", "ctc5", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def frame_model(tmp_path_factory) -> Path:
    """The shipped weights as a frame graph."""
    path = tmp_path_factory.mktemp("exported") / "frame.onnx"
    assert main(["export", "ctcnet-s", "--panel", "ctc5", "--frame", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def predictor(model) -> OnnxPredictor:
    return OnnxPredictor(model, SessionSettings(threads=1))


@pytest.fixture(scope="session")
def crops(predictor) -> np.ndarray:
    """More than one batch of the examples, uint16 (70, C, S, S)."""
    return random_crops(predictor.card, 70, np.random.default_rng(8))


@pytest.fixture(scope="session")
def node(examples) -> Path:
    """Folder of the examples for Node.js, whose packages are installed."""
    folder = examples / "node"
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    if not (folder / "node_modules" / "onnxruntime-node").is_dir():
        pytest.skip(f"npm packages are not installed: npm install --ignore-scripts in {folder.relative_to(ROOT)}")
    return folder


@pytest.fixture(scope="session")
def call():
    """Run a command; gives what it printed."""

    def run(*command: object, exit_code: int = 0) -> str:
        found = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
        assert found.returncode == exit_code, found.stderr[-2000:]
        return found.stdout if exit_code == 0 else found.stderr

    return run


@pytest.fixture(scope="session")
def cpp(examples, tmp_path_factory, call) -> Path:
    """Folder of the compiled C++ examples."""
    if "ONNXRUNTIME_DIR" not in os.environ:
        pytest.skip("ONNXRUNTIME_DIR does not name an unpacked release of onnxruntime for C++")
    build = tmp_path_factory.mktemp("cpp")
    call("cmake", "-S", examples / "cpp", "-B", build, f"-DONNXRUNTIME_DIR={os.environ['ONNXRUNTIME_DIR']}")
    call("cmake", "--build", build)
    return build


@pytest.fixture(scope="session", params=["node", "web", "cpp"])
def example(request, call):
    """Runs an example, 'classify_crops' or 'find_events', of a language with its arguments, see `call`."""
    if request.param == "cpp":
        folder = request.getfixturevalue("cpp")
        return lambda name, *arguments, exit_code=0: call(folder / name, *arguments, exit_code=exit_code)
    folder = request.getfixturevalue("node")
    web = ["--web"] if request.param == "web" else []
    return lambda name, *arguments, exit_code=0: call(
        "node", folder / f"{name}.mjs", *arguments, *web, exit_code=exit_code
    )
