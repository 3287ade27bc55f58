"""Crops with the answers to them, in the file itself: any program can show that it gets the laboratory's answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ctcnet.contract.packed_array import pack_array, unpack_array
from ctcnet.errors import ContractError, ModelFileError
from ctcnet.runtime.predictions import Predictor


class GoldenCase(NamedTuple):
    """Levels for all crops, and the answers under them.

    Attributes:
        background, scale: float32 (C,), counts; NaN for the model's own.
        probabilities: float32 (N, K).
        unassigned: bool (N,).
        atypicality: float32 (N,), NaN where the model has no such score.
    """

    background: np.ndarray
    scale: np.ndarray
    probabilities: np.ndarray
    unassigned: np.ndarray
    atypicality: np.ndarray


@dataclass(frozen=True)
class GoldenSample:
    """A batch of crops and the answers to it.

    Attributes:
        crops: uint16 (N, C, S, S) counts.
        cases: the same crops under several levels.
        probability_tolerance: largest difference of a probability that is let through. No decision may differ: none of
            the crops is in the guard band.
        atypicality_tolerance: the same for an atypicality, relative to the larger of 1 and the value.
    """

    crops: np.ndarray
    cases: tuple[GoldenCase, ...]
    probability_tolerance: float
    atypicality_tolerance: float = 1e-3

    def to_text(self) -> str:
        """JSON of the metadata property `golden_sample`; NaN is null."""
        cases = [{name: _plain(value) for name, value in case._asdict().items()} for case in self.cases]
        tolerances = {
            "probability_tolerance": self.probability_tolerance,
            "atypicality_tolerance": self.atypicality_tolerance,
        }
        return json.dumps({"crops": pack_array(self.crops), "cases": cases, **tolerances})


@dataclass(frozen=True)
class GoldenDifference:
    """Largest differences found; both are within their tolerances.

    Attributes:
        answers: number of crops times number of cases.
        probability: absolute.
        atypicality: relative to the larger of 1 and the value.
    """

    answers: int
    probability: float
    atypicality: float


def golden_from_text(text: str, where: str | Path) -> GoldenSample:
    """Read the metadata property `golden_sample`.

    Raises:
        ModelFileError: it is malformed.
    """
    try:
        content = json.loads(text)
        crops = unpack_array(content["crops"], where)
        cases = tuple(_case(case) for case in content["cases"])
        tolerances = [float(content[f"{name}_tolerance"]) for name in ("probability", "atypicality")]
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as cause:
        raise ModelFileError(f"golden sample is malformed ({cause})", where=where) from cause
    shapes = [(c.background.shape, c.scale.shape, len(c.probabilities), c.unassigned.shape) for c in cases]
    fits = crops.ndim == 4 and crops.dtype == np.uint16 and len(crops) > 0
    wanted = (crops.shape[1:2], crops.shape[1:2], len(crops), crops.shape[:1])
    fits = fits and len(cases) > 0 and all(shape == wanted for shape in shapes)
    if not fits or not all(c.probabilities.ndim == 2 and c.atypicality.shape == crops.shape[:1] for c in cases):
        raise ModelFileError("golden sample has arrays that do not fit together", where=where, found=str(shapes))
    return GoldenSample(crops, cases, *tolerances)


def check_golden(sample: GoldenSample, predictor: Predictor, dtype: np.dtype, where: str | Path) -> GoldenDifference:
    """Compare a model's answers with those stored.

    Args:
        sample: read from the file.
        predictor: the model.
        dtype: type of crops that it takes, uint16 or float32.
        where: file that the error names.

    Raises:
        ContractError: an answer differs, with the first crop for which it does.
    """
    worst_probability = worst_atypicality = 0.0
    for number, case in enumerate(sample.cases):
        found = predictor.predict(sample.crops.astype(dtype), case.background, case.scale)
        if found.probabilities.shape != case.probabilities.shape:
            raise _difference("probabilities", where, number, 0, case.probabilities.shape, found.probabilities.shape)
        difference = _apart(case.probabilities, found.probabilities).max(axis=1)
        _refuse("probabilities", difference, sample.probability_tolerance, case.probabilities, found[0], where, number)
        worst_probability = max(worst_probability, float(difference.max()))
        difference = _apart(case.atypicality, found.atypicality) / np.fmax(1, np.abs(case.atypicality))
        _refuse(
            "atypicality", difference, sample.atypicality_tolerance, case.atypicality, found.atypicality, where, number
        )
        worst_atypicality = max(worst_atypicality, float(difference.max()))
        other = case.unassigned != found.unassigned
        _refuse("unassigned", other.astype(float), 0.0, case.unassigned, found.unassigned, where, number)
    return GoldenDifference(len(sample.crops) * len(sample.cases), worst_probability, worst_atypicality)


def _apart(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Absolute difference; 0 where both are NaN, infinite where one alone is no finite number."""
    same = np.isnan(expected) & np.isnan(found)
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.nan_to_num(np.abs(expected - found), nan=np.inf))


def _refuse(
    what: str,
    difference: np.ndarray,
    tolerance: float,
    expected: np.ndarray,
    found: np.ndarray,
    where: str | Path,
    case: int,
) -> None:
    """Raise ContractError with the first crop whose difference is above the tolerance."""
    outside = np.flatnonzero(~(difference <= tolerance))
    if outside.size:
        crop = int(outside[0])
        raise _difference(what, where, case, crop, expected[crop], found[crop])


def _difference(
    what: str, where: str | Path, case: int, crop: int, expected: Sequence | np.ndarray, found: Sequence | np.ndarray
) -> ContractError:
    return ContractError(
        f"gives other {what} for its golden sample, case {case + 1}, crop {crop + 1}",
        where=where,
        expected=str(expected),
        found=str(found),
        fix="do not use it here: export it again, or bring onnxruntime up to date",
    )


def _plain(values: np.ndarray) -> list[Any]:
    if values.dtype == bool:
        return values.tolist()
    if values.ndim == 2:
        return [_plain(row) for row in values]
    return [None if np.isnan(value) else float(f"{value:.9g}") for value in values.tolist()]


def _case(content: dict[str, Any]) -> GoldenCase:
    numbers = {name: np.array(content[name], dtype=np.float32) for name in GoldenCase._fields if name != "unassigned"}
    return GoldenCase(**numbers, unassigned=np.array(content["unassigned"], dtype=bool))
