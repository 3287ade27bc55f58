"""Crops with the answers to them, in the file itself: any program can show that it gets the laboratory's answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ctcnet.contract.golden_values import difference, reading, refusal, score_difference, to_plain
from ctcnet.contract.packed_array import pack_array, unpack_array
from ctcnet.errors import ContractError, ModelFileError
from ctcnet.runtime.conformal import judge_unassigned
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
        cases = [{name: to_plain(value) for name, value in case._asdict().items()} for case in self.cases]
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
    with reading("sample", where):
        content = json.loads(text)
        crops = unpack_array(content["crops"], where)
        cases = tuple(_case(case) for case in content["cases"])
        tolerances = [float(content[f"{name}_tolerance"]) for name in ("probability", "atypicality")]
    fits = crops.ndim == 4 and crops.dtype == np.uint16 and len(crops) > 0 and len(cases) > 0
    if not fits or not all(_fits(case, crops) for case in cases):
        found = str([tuple(values.shape for values in case) for case in cases])
        raise ModelFileError("golden sample has arrays that do not fit together", where=where, found=found)
    return GoldenSample(crops, cases, *tolerances)


def _fits(case: GoldenCase, crops: np.ndarray) -> bool:
    number, channels = crops.shape[:2]
    p = case.probabilities
    levels, answers = (case.background.shape, case.scale.shape), (case.unassigned.shape, case.atypicality.shape)
    return p.ndim == 2 and len(p) == number and set(levels) == {(channels,)} and set(answers) == {(number,)}


def check_golden(sample: GoldenSample, predictor: Predictor, dtype: np.dtype, where: str | Path) -> GoldenDifference:
    """Compare a model's answers with those stored.

    Args:
        sample: read from the file.
        predictor: the model.
        dtype: type of crops that it takes, uint16 or float32.
        where: file that the error names.

    Raises:
        ContractError: an answer differs, with the first crop for which it does, or is not what the card's thresholds
            and levels make of it.
    """
    worst_probability = worst_atypicality = 0.0
    for number, case in enumerate(sample.cases):
        found = predictor.predict(sample.crops.astype(dtype), case.background, case.scale)
        if found.probabilities.shape != case.probabilities.shape:
            raise _refusal("probabilities", where, number, 0, case.probabilities.shape, found.probabilities.shape)
        probability = difference(case.probabilities, found.probabilities).max(axis=1)
        atypicality = score_difference(case.atypicality, found.atypicality)
        by_card = judge_unassigned(found.probabilities, found.atypicality, predictor.card)
        for name, wrong in (
            ("probabilities", ~(probability <= sample.probability_tolerance)),
            ("atypicality", ~(atypicality <= sample.atypicality_tolerance)),
            ("unassigned", case.unassigned != found.unassigned),
            ("unassigned", by_card != found.unassigned),
        ):
            if wrong.any():
                crop = int(np.flatnonzero(wrong)[0])
                raise _refusal(name, where, number, crop, getattr(case, name)[crop], getattr(found, name)[crop])
        _check_own_levels(sample, case, found.probabilities, predictor, dtype, where)
        worst_probability = max(worst_probability, float(probability.max()))
        worst_atypicality = max(worst_atypicality, float(atypicality.max()))
    return GoldenDifference(len(sample.crops) * len(sample.cases), worst_probability, worst_atypicality)


def _check_own_levels(
    sample: GoldenSample,
    case: GoldenCase,
    probabilities: np.ndarray,
    predictor: Predictor,
    dtype: np.dtype,
    where: str | Path,
) -> None:
    """Raise ContractError where the levels that NaN stands for are not those of the card."""
    own = predictor.card.normalization
    missing = np.isnan(case.background) | np.isnan(case.scale)
    if own.mode == "per_crop" or own.background is None or own.scale is None or not missing.any():
        return
    background = np.where(np.isnan(case.background), np.array(own.background, np.float32), case.background)
    scale = np.where(np.isnan(case.scale), np.array(own.scale, np.float32), case.scale)
    found = predictor.predict(sample.crops.astype(dtype), background, scale)
    if not difference(probabilities, found.probabilities).max() <= sample.probability_tolerance:
        raise refusal("levels", "sample, where none are given", where, "those of its card", "others")


def _refusal(what: str, where: str | Path, case: int, crop: int, expected: object, found: object) -> ContractError:
    return refusal(what, f"sample, case {case + 1}, crop {crop + 1}", where, expected, found)


def _case(content: dict[str, Any]) -> GoldenCase:
    numbers = {name: np.array(content[name], dtype=np.float32) for name in GoldenCase._fields if name != "unassigned"}
    return GoldenCase(**numbers, unassigned=np.array(content["unassigned"], dtype=bool))
