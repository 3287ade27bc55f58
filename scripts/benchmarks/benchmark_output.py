"""What every benchmark prints and keeps: a Markdown table, the hardware, a JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def hardware() -> str:
    """Processor, cores used, accelerator and versions in words."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.processor()
    )
    flags = next((line for line in _cpu_lines() if line.startswith("flags")), "")
    extensions = [name for name in ("avx512_vnni", "avx512_bf16", "amx_tile") if name in flags.split()]
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    words = f"{model}, {os.cpu_count()} cores ({', '.join(extensions) or 'no VNNI'}), {gpu}"
    return f"{words}; Python {platform.python_version()}, torch {torch.__version__}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with equal keys as a Markdown table."""
    names = list(rows[0])
    print(f"\n{title}\n{hardware()}\n")
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


def save_result(path: Path | None, result: Mapping[str, Any]) -> None:
    """Write a result as JSON where a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
