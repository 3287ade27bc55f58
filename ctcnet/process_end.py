"""The end of a command's process, whose exit code is that of the work whatever native libraries do as they unload."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def run_to_end(run: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code.

    Exit handlers of Python all run; native libraries are not unloaded. Threads of theirs may be at work while what
    they use goes, which now and then is a segmentation fault after the last result was written (apache/arrow issues
    38352 and 39503), and a segmentation fault is no exit code to count a cartridge by. The interpreter's last search
    for cycles, 0.7 s where torch is loaded, is left out with it.

    Args:
        run: the command; gives its exit code. An exception that it raises ends the process as elsewhere.
    """
    code = 1
    atexit.register(lambda: _end(code))  # registered before all others, and so called after all of them
    try:
        code = run()
    except SystemExit as request:  # as of a wrong option; a message in place of a number stays 1
        code = request.code if isinstance(request.code, int) else int(request.code is not None)
        raise
    sys.exit(code)


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a reader that went away, or a stream that was closed
            stream.flush()
    os._exit(code)
