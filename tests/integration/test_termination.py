"""A command that is asked to end (SIGTERM) leaves nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_simulation_that_is_ended_leaves_nothing(sent: int, code: int, tmp_path: Path) -> None:
    words = ["simulate", "crops", str(tmp_path / "new/crops"), "--count", "50000", "--groups", "10", "--seed", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ctcnet", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    limit = time.monotonic() + 120
    while not list(tmp_path.rglob("*.tif")) and time.monotonic() < limit:
        time.sleep(0.05)
    assert list(tmp_path.rglob("*.tif"))
    process.send_signal(sent)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
