"""The scripts of the benchmarks, which are no package, made importable."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts" / "benchmarks"))
