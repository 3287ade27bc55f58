"""`python -m ctcnet.training`, the same as `python train.py`, for installations without a checkout."""

from ctcnet.training.command_line import main

if __name__ == "__main__":
    raise SystemExit(main())
