"""`python -m ctcnet`: the same as the command `ctcnet`."""

import gc
import os
import sys

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
            if "triton" not in sys.modules:  # its bindings would call what is frozen leaked
                gc.freeze()  # the interpreter's last search for cycles takes 0.7 s with torch, and would free nothing
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as of `ctcnet card MODEL | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return 141


if __name__ == "__main__":
    sys.exit(run())
