"""Environments of their own for versions of onnxruntime: Python ones by venv and pip, one of Node.js by npm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PYTHON_PACKAGES = {
    "1.17": ("onnxruntime==1.17.*", "numpy<2"),
    "1.18": ("onnxruntime==1.18.*", "numpy<2"),
    "1.20": ("onnxruntime==1.20.*", "numpy"),
    "1.22": ("onnxruntime==1.22.*", "numpy"),
    "newest": ("onnxruntime", "numpy"),
}
"""Environments of Python; the wheels of 1.17 and 1.18 were built for numpy 1."""

NODE_RUNTIMES = {"node": (), "web": ("--web",)}
"""Runtimes of Node.js, and what tells the runner to use them."""

RUNTIMES = (*PYTHON_PACKAGES, *NODE_RUNTIMES)


@dataclass(frozen=True)
class Runtime:
    """A version of onnxruntime: a command that runs a model on prepared inputs, to which their paths are added."""

    name: str
    command: tuple[str, ...]
    options: tuple[str, ...] = ()

    def run(self, model: Path, cases: Path, out: Path) -> None:
        """Write the answers to `out`, which appears when they are whole.

        Raises:
            RuntimeError: the runner failed.
        """
        part = out.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        command = [*self.command, str(model), str(cases), str(part), *self.options]
        found = subprocess.run(command, capture_output=True, text=True, cwd=cases)
        if found.returncode:
            raise RuntimeError(f"{self.name}: {found.stderr.strip()[-500:]}")
        part.rename(out)


def make_runtime(name: str, folder: Path) -> Runtime:
    """Make the environment of one of `RUNTIMES` below `folder`, or take the one that is there."""
    if name in NODE_RUNTIMES:
        return Runtime(name, ("node", str(_node_environment(folder / "node"))), NODE_RUNTIMES[name])
    python = folder / name / "bin" / "python"
    finished = folder / name / "finished"
    if not finished.exists():
        shutil.rmtree(folder / name, ignore_errors=True)
        _call(sys.executable, "-m", "venv", str(folder / name))
        packages = PYTHON_PACKAGES[name]
        _call(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        finished.touch()
    return Runtime(name, (str(python), str(EXAMPLES / "python" / "run_cases.py")))


def _node_environment(folder: Path) -> Path:
    """Copy the runner beside the newest packages, where Node.js looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "metadata.mjs", "runtime.mjs", "run_cases.mjs"):
        shutil.copy(EXAMPLES / "node" / name, folder / name)
    if not (folder / "finished").exists():
        options = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
        _call("npm", "install", "--prefix", str(folder), *options)
        (folder / "finished").touch()
    return folder / "run_cases.mjs"


def _call(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
