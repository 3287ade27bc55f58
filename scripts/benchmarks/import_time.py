"""How long `import ctcnet.runtime` takes in a fresh interpreter, and how much of it is numpy's own.

python scripts/benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

REPEATS = 15
_CODE = """
import time
start, cpu = time.perf_counter(), time.process_time()
import {module}
print(time.perf_counter() - start, time.process_time() - cpu)
import sys
assert "torch" not in sys.modules
"""


def seconds(module: str) -> tuple[float, float]:
    """Median wall and processor time of an import, in seconds."""
    code = _CODE.format(module=module)
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(REPEATS)
    ]
    return statistics.median(float(run[0]) for run in runs), statistics.median(float(run[1]) for run in runs)


def main() -> None:
    """Measure and print."""
    for module in ("numpy", "ctcnet.runtime"):
        wall, processor = seconds(module)
        print(f"import {module}: {wall:.3f} s, {processor:.3f} s of the processor (median of {REPEATS})")


if __name__ == "__main__":
    main()
