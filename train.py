"""Train, validate and test classifiers: `python train.py fit --config configs/five_class.yaml --data.manifest M`."""

import sys

from ctcnet.process_end import INTERRUPTED, run_to_end


def run() -> int:
    """Run the command."""
    try:
        from ctcnet.training.command_line import main
    except KeyboardInterrupt:  # loading torch takes seconds
        print("interrupted before anything was done", file=sys.stderr)
        return INTERRUPTED
    return main()


if __name__ == "__main__":
    run_to_end(run)
