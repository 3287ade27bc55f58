"""What golden samples and golden frames share: answers as JSON, how far apart two of them are, and their errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ctcnet.errors import ContractError, ModelFileError


def to_plain(values: np.ndarray) -> list:
    """JSON of an array: numbers to nine digits, which is float32 to the bit; NaN is null."""
    if values.ndim > 1:
        return [to_plain(row) for row in values]
    if values.dtype.kind != "f":
        return values.tolist()
    return [None if np.isnan(value) else float(f"{value:.9g}") for value in values.tolist()]


def difference(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Absolute difference; 0 where both are NaN, infinite where one alone is no number."""
    same = np.isnan(expected) & np.isnan(found)
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.nan_to_num(np.abs(expected - found), nan=np.inf))


def score_difference(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The same of atypicalities, relative to the larger of 1 and the value expected."""
    return difference(expected, found) / np.fmax(1, np.abs(expected))


def check_tolerances(stated: Mapping[str, float], limits: Mapping[str, float], golden: str, where: str | Path) -> None:
    """Raise ContractError unless each tolerance is 0 to its limit: what equals any answer shows nothing.

    Args:
        stated: tolerances of a golden sample or frame, by name.
        limits: largest of each.
        golden: 'sample' or 'frame'.
        where: file that the error names.
    """
    for name, limit in limits.items():
        if not 0 <= stated[name] <= limit:
            raise ContractError(
                f"lets answers to its golden {golden} differ by too much: {name}",
                where=where,
                expected=f"0 to {limit:g}",
                found=f"{stated[name]:g}",
                fix="use a file that ctcnet export wrote, as it wrote it",
            )


@contextmanager
def reading(golden: str, where: str | Path) -> Iterator[None]:
    """Turn what malformed content raises into a ModelFileError; `golden` is 'sample' or 'frame'."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError) as cause:
        raise ModelFileError(f"golden {golden} is malformed ({cause})", where=where) from cause


def refusal(what: str, golden: str, where: str | Path, expected: object, found: object) -> ContractError:
    """The error for an answer that differs; `what` it is, and `golden` in which sample or frame."""
    return ContractError(
        f"gives other {what} for its golden {golden}",
        where=where,
        expected=str(expected),
        found=str(found),
        fix="do not use it here: export it again, or bring onnxruntime up to date",
    )
