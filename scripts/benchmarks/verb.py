"""Verbs of ctcnet run as a user runs them, and the tables that they write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq


def run(*arguments: object) -> None:
    """Run a verb of ctcnet in a process of its own; ends the benchmark with its last words where it fails."""
    command = [sys.executable, "-m", "ctcnet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nexit code {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")


def columns(path: Path) -> dict[str, np.ndarray]:
    """Columns of a Parquet file."""
    table = pq.read_table(path)
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
