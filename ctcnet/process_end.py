"""The end of a command's process, whose exit code is that of the work whatever native libraries do as they unload."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

INTERRUPTED, READER_GONE, TERMINATED, NOT_WRITTEN = 130, 141, 143, 2


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as by a queue whose time is over."""


def interruption_code(stop: KeyboardInterrupt) -> int:
    """Exit code of a process that was interrupted, or asked to end."""
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


@contextmanager
def termination_as_interruption() -> Iterator[None]:
    """Raise `Terminated` at SIGTERM, which by default ends a process at once and leaves half-written files.

    Further SIGTERMs wait for what is being tidied up. Where a program that calls this handles the signal itself, or
    outside the main thread, nothing is changed.
    """

    def terminate(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run_to_end(run: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code.

    Exit handlers registered since run; native libraries are not unloaded. Threads of theirs may be at work while what
    they use goes, which now and then is a segmentation fault after the last result was written (apache/arrow issues
    38352 and 39503), and a segmentation fault is no exit code to count a cartridge by. The interpreter's last search
    for cycles, 0.7 s where torch is loaded, is left out with it.

    Args:
        run: the command; gives its exit code. What it prints and nobody takes any more (`ctcnet card MODEL | head -1`)
            gives exit code 141, what cannot be written one line on the error stream and 2, an interruption that it
            does not handle 130; other exceptions end the process as elsewhere.
    """
    code = 1
    atexit.register(lambda: _end(code))  # registered before all others, and so called after all of them
    try:
        code = _with_output(run)
    except SystemExit as request:  # as of a wrong option; a message in place of a number stays 1
        code = request.code if isinstance(request.code, int) else int(request.code is not None)
        raise
    except KeyboardInterrupt:
        code = INTERRUPTED
        raise
    sys.exit(code)


def _with_output(run: Callable[[], int]) -> int:
    """The exit code of `run` once what it printed is written."""
    try:
        try:
            return run()
        finally:
            _flush_output()
    except OSError as cause:
        if not _output_is_lost():
            raise
        if isinstance(cause, BrokenPipeError):
            return READER_GONE
        print(f"error: what is printed could not be written ({cause.strerror})", file=sys.stderr)
        print("  what to do: see to the disk or the program that it is sent to", file=sys.stderr)
        return NOT_WRITTEN


def _flush_output() -> None:
    if sys.stdout is not None:  # closed by who started the process
        sys.stdout.flush()


def _output_is_lost() -> bool:
    """Whether printing fails; where it does not, an empty line stands in the output before the traceback."""
    try:
        print(flush=True)  # no flush alone: without a buffer (PYTHONUNBUFFERED) nothing waits that would fail again
    except OSError:
        return True
    return False


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # of no use any more; closed; none
            stream.flush()
    os._exit(code)
