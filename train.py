"""Train, validate and test classifiers: `python train.py fit --config configs/five_class.yaml --data.manifest M`."""

import sys

if __name__ == "__main__":
    try:
        from ctcnet.training.command_line import main
    except KeyboardInterrupt:  # loading torch takes seconds
        print("interrupted before anything was done", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(main())
