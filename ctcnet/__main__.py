"""`python -m ctcnet`: the same as the command `ctcnet`."""

import gc
import os
import sys
from typing import NoReturn

from ctcnet.process_end import run_to_end

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""New objects after which Python looks for cycles; its 700 take half a second of every start that loads torch."""


def run() -> int:
    """Run the command; neither an interruption while it is being loaded nor a reader that went away is a traceback."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        try:
            from ctcnet.cli import main

            return main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as of `ctcnet card MODEL | head -1`
        _drop_what_waits()
        return 141
    except OSError as cause:
        if cause.filename is not None:  # only writing to a stream that is open names no file
            raise
        print(f"error: what is printed could not be written ({cause.strerror})", file=sys.stderr)
        print("  what to do: see to the disk or the program that it is sent to", file=sys.stderr)
        _drop_what_waits()
        return 2


def _drop_what_waits() -> None:
    """Let the interpreter's last flush of the output have somewhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command() -> NoReturn:
    """Run the command and end the process with its exit code."""
    run_to_end(run)


if __name__ == "__main__":
    command()
