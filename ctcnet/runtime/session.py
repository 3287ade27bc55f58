"""A session of onnxruntime for one checked file: the provider asked for, bounded threads, a deadline for each call."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ctcnet.errors import DeadlineError, ModelFileError, SettingError
from ctcnet.runtime.model_file import read_model_file
from ctcnet.runtime.signature_file import stated_sha256

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from onnxruntime.capi.onnxruntime_pybind11_state import RunOptions

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
MOST_THREADS = 256
"""More make onnxruntime end the process where memory for their stacks is short."""
LONGEST_DEADLINE_S = 86_400.0


@dataclass(frozen=True)
class SessionSettings:
    """How onnxruntime runs a model.

    Attributes:
        provider: 'cpu' or 'cuda'; another one is never used in its stead.
        threads: threads within one operation, 1 to `MOST_THREADS`; None leaves the choice to onnxruntime.
        memory_arena: whether memory is kept from call to call; without, calls are slower and less is held between them.
        deadline_s: seconds that one call may take; None for any time. onnxruntime looks at it between two operators.
        calls_at_once: calls that classification of many crops makes side by side, 1 to `MOST_THREADS`, each with
            `threads` threads. A small network gains little from a second thread within a call; to use a CPU's cores
            give one thread and as many calls as cores.

    Raises:
        SettingError: an unknown provider, or a number outside its range.
    """

    provider: str = "cpu"
    threads: int | None = None
    memory_arena: bool = True
    deadline_s: float | None = None
    calls_at_once: int = 1

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise SettingError(f"unknown provider '{self.provider}'", expected=f"one of: {', '.join(PROVIDERS)}")
        check_threads(self.threads)
        _check_count(self.calls_at_once, "calls_at_once")
        _check_deadline(self.deadline_s)


def _check_deadline(deadline_s: float | None) -> None:
    if deadline_s is None:
        return
    number = isinstance(deadline_s, Real) and not isinstance(deadline_s, bool)
    if not number or not 0 < deadline_s <= LONGEST_DEADLINE_S:
        raise SettingError(
            "deadline is out of range" if number else "deadline is no number",
            where="deadline_s",
            expected=f"above 0 and at most {LONGEST_DEADLINE_S:g} s",
            found=repr(deadline_s),
        )


def check_threads(threads: int | None) -> None:
    """Raise SettingError unless `threads` is None or a whole number, 1 to `MOST_THREADS`."""
    if threads is not None:
        _check_count(threads, "threads")


def usable_cpus() -> int:
    """CPUs that this process may use, at most `MOST_THREADS`."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MOST_THREADS)


def _check_count(count: int, name: str) -> None:
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise SettingError(f"{name} is no whole number", where=name, expected=f"1 to {MOST_THREADS}", found=repr(count))
    if not 1 <= count <= MOST_THREADS:
        what = f"{name} is below 1" if count < 1 else f"{name} are too many"
        raise SettingError(what, where=name, expected=f"1 to {MOST_THREADS}", found=str(count))


class ModelSession:
    """A model file that has been checked, see `ctcnet.runtime.model_file`, and opened.

    Args:
        path: ONNX file.
        settings: how to run it.
        expected_sha256: hash that the file must have, hexadecimal. None takes that of the signature file beside it,
            `<name>.sig`, where there is one; whose signature it is says `ctcnet verify --key`.

    Attributes:
        inputs, outputs: nodes of onnxruntime (`name`, `type`, `shape`), in the order of the graph.
        properties: the file's metadata.
        sha256: hash of the file.

    Raises:
        ModelFileError: no such file, one that is not allowed, changed or cannot be loaded, or the provider is not to
            be had.
    """

    def __init__(self, path: str | Path, settings: SessionSettings, expected_sha256: str | None = None) -> None:
        self._path, self._settings = Path(path), settings
        file = read_model_file(path, stated_sha256(path) if expected_sha256 is None else expected_sha256)
        self._session = _open(self._path, file.content, settings)
        self.inputs, self.outputs = self._session.get_inputs(), self._session.get_outputs()
        self.properties, self.sha256 = file.properties, file.sha256

    def run(self, outputs: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs by name, in the order asked for.

        Raises:
            DeadlineError: the call took longer than `deadline_s`; the session can be used again.
            ModelFileError: onnxruntime could not run the graph on these inputs.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4  # what is wrong stands in the exception
        with _deadline(options, self._settings.deadline_s, self._path):
            try:
                return [np.asarray(value) for value in self._session.run(list(outputs), dict(feed), options)]
            except Exception as cause:  # onnxruntime's own exceptions share no base class
                raise ModelFileError(
                    "could not be run",
                    where=self._path,
                    found=str(cause).splitlines()[0],
                    fix="check the model with ctcnet verify; where memory is short give fewer crops at once",
                ) from cause


@contextmanager
def _deadline(options: RunOptions, deadline_s: float | None, path: Path) -> Iterator[None]:
    """End the call that uses `options` after the deadline, and raise DeadlineError in place of what it raised."""
    if deadline_s is None:
        yield
        return
    timer = threading.Timer(deadline_s, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    except ModelFileError as cause:
        if options.terminate:
            raise _too_late(deadline_s, path) from cause
        raise
    finally:
        timer.cancel()
    if options.terminate:
        raise _too_late(deadline_s, path)


def _too_late(deadline_s: float, path: Path) -> DeadlineError:
    return DeadlineError(
        "took longer than it may and was ended",
        where=path,
        expected=f"at most {deadline_s:g} s for one call",
        fix="give fewer crops at once, fewer calls at once, more threads or a longer deadline",
    )


def _open(path: Path, content: bytes, settings: SessionSettings) -> InferenceSession:
    import onnxruntime

    wanted = PROVIDERS[settings.provider]
    if wanted not in onnxruntime.get_available_providers():
        raise _provider_error(path, wanted, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = settings.memory_arena
    # as read_model_file understood it: onnxruntime takes bytes that can be read as either format for its own
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if settings.threads is not None:
        options.intra_op_num_threads = settings.threads
    try:
        # constants are computed in calls, which have a deadline, and not while the file is opened, which has none
        session = onnxruntime.InferenceSession(
            content, options, providers=[wanted], disabled_optimizers=["ConstantFolding"]
        )
    except Exception as cause:  # as above
        raise ModelFileError(
            "cannot be loaded as an ONNX model",
            where=path,
            expected="an ONNX file written by ctcnet export",
            found=str(cause).splitlines()[0],
            fix=f"export the model again, or bring onnxruntime (here {onnxruntime.__version__}) up to date",
        ) from cause
    if session.get_providers()[0] != wanted:
        raise _provider_error(path, wanted, session.get_providers())
    return session


def _provider_error(path: Path, wanted: str, found: Sequence[str]) -> ModelFileError:
    return ModelFileError(
        "cannot run on the device asked for",
        where=path,
        expected=wanted,
        found=", ".join(found),
        fix="ask for the device 'cpu', or install the package onnxruntime-gpu with its CUDA libraries",
    )
