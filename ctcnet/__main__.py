"""`python -m ctcnet`: the same as the command `ctcnet`."""

import sys


def run() -> int:
    """Run the command; also while it is still being loaded, an interruption is no traceback."""
    try:
        from ctcnet.cli import main

        return main()
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
