"""`ctcnet train`: the same command line as `python train.py`, for installations without a checkout."""

from __future__ import annotations

import argparse

from ctcnet.extras import import_extra


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `train`."""
    parser = subparsers.add_parser(
        "train",
        help="train, validate or test a classifier (same as python train.py)",
        description="Train, validate or test a classifier; `ctcnet train fit --help` lists every option.",
        epilog="example: ctcnet train fit --config five_class --data.manifest M --run_dir OUT",
    )
    parser.add_argument("subcommand", choices=("fit", "validate", "test"))
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of the subcommand")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Hand everything on to the training command line."""
    command_line = import_extra("ctcnet.training.command_line", "train")
    return command_line.main([args.subcommand, *args.options])
