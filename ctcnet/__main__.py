"""`python -m ctcnet`: the same as the command `ctcnet`."""

import gc
import sys
from typing import NoReturn

from ctcnet.process_end import INTERRUPTED, run_to_end

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""New objects after which Python looks for cycles; its 700 take half a second of every start that loads torch."""


def run() -> int:
    """Run the command; an interruption while it is being loaded is no traceback."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        from ctcnet.cli import main

        return main()
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)
        return INTERRUPTED


def command() -> NoReturn:
    """Run the command and end the process with its exit code."""
    run_to_end(run)


if __name__ == "__main__":
    command()
