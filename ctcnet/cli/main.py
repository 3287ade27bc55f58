"""Entry of the command `ctcnet`: verbs, errors and exit codes."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from ctcnet import __version__
from ctcnet.cli import (
    card,
    check,
    classify,
    evaluate,
    export,
    pack,
    rates,
    scan,
    sign,
    simulate,
    spillover,
    train,
    verify,
)
from ctcnet.errors import CtcnetError, SettingError, memory_errors
from ctcnet.process_end import interruption_code, termination_as_interruption

_VERBS = (simulate, check, pack, train, evaluate, export, rates, verify, sign, card, classify, scan, spillover)


class _Parser(argparse.ArgumentParser):
    """Parser that takes no abbreviated options, so that a typo is an error; those of the verbs are of its kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command with all its verbs; a verb's function is in `run`."""
    parser = _Parser(
        prog="ctcnet",
        description="Classifier for circulating-tumour-cell images. For research use only.",
    )
    parser.add_argument("--version", action="version", version=f"ctcnet {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in _VERBS:
        verb.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words after `ctcnet`; None takes them from the command line.

    Returns:
        Exit code: 0 done, 1 a check found what is wrong, 2 bad input, 130 interrupted, 143 asked to end (SIGTERM).
    """
    words = sys.argv[1:] if arguments is None else arguments
    args = build_parser().parse_args(words)
    ending = nullcontext() if args.verb == "train" else termination_as_interruption()  # Lightning has its own way
    try:
        _check_not_empty(words)
        with _plain_warnings(), ending:
            return args.run(args)
    except CtcnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except memory_errors() as cause:
        print(f"error: there is not enough memory ({cause})", file=sys.stderr)
        return CtcnetError.exit_code
    except KeyboardInterrupt as stop:
        print("interrupted; nothing half-written was left", file=sys.stderr)
        return interruption_code(stop)


def _check_not_empty(words: Sequence[str]) -> None:
    """Raise SettingError for an argument without a character, which as a path would be the folder one is in."""
    if "" in words:
        before = words[words.index("") - 1] if words.index("") else "ctcnet"
        raise SettingError(
            "an argument is empty",
            where=f"after {before}",
            fix="see whether a variable of the shell is not set",
        )


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings as one line of prose, without file and line of code."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before
