"""Damaged files in processes of their own: a short form of scripts/benchmarks/adversarial_files.py."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

FLIPS = 60
_CODE = """
import sys
import numpy as np
from ctcnet.errors import CtcnetError
from ctcnet.runtime import OnnxPredictor, SessionSettings
for path in sys.argv[1:]:
    try:
        answer = OnnxPredictor(path, SessionSettings(threads=1)).predict(np.full((2, 2, 8, 8), 300, np.uint16))
        print("answer", flush=True)
    except CtcnetError:
        print("error", flush=True)
"""


def test_flips_without_a_signature_neither_crash_nor_hang(write_linear_model, tmp_path):
    whole = write_linear_model().read_bytes()
    rng = random.Random(1)
    paths = []
    for number in range(FLIPS):
        content = bytearray(whole)
        content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        paths.append(tmp_path / f"{number}.onnx")
        paths[-1].write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *map(str, paths)], capture_output=True, text=True, check=False, timeout=300
    )
    outcomes = done.stdout.split()
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(outcomes) == FLIPS
    assert set(outcomes) <= {"answer", "error"}
    assert "error" in outcomes
