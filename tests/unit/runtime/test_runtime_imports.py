import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

_HEAVY = (
    "torch",
    "lightning",
    "pytorch_lightning",
    "torchvision",
    "albumentations",
    "cv2",
    "pandas",
    "sklearn",
    "scipy",
)


def test_runtime_imports_nothing_heavy(write_linear_model):
    code = (
        "import sys, numpy as np\n"
        "from ctcnet.runtime import OnnxPredictor\n"
        f"OnnxPredictor({str(write_linear_model())!r}).predict(np.zeros((1, 2, 8, 8), np.uint16))\n"
        f"print([name for name in {_HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
