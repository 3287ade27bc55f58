"""Answers for the crops of a scan: embeddings, which are large, only of those in the cartridge's sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class CropAnswers(NamedTuple):
    """Answers for N crops, in the order of the crops.

    Attributes:
        probabilities, unassigned, atypicality: see `ctcnet.runtime.predictions.Predictions`.
        embedding: float32 (M, D), of the M crops that are in the sample; D is 0 where there are no crops.
    """

    probabilities: np.ndarray
    unassigned: np.ndarray
    atypicality: np.ndarray
    embedding: np.ndarray


def join(parts: Sequence[CropAnswers]) -> CropAnswers:
    """Join answers for consecutive crops; at least one part, none of them without crops."""
    return CropAnswers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def rows_within(rows: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Those of `rows` (M,) from `start` to before `stop`, counted from `start`."""
    return rows[(rows >= start) & (rows < stop)] - start
