"""What a model said about labelled crops, row by row: the input of every statistic of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from ctcnet.errors import StatisticsError
from ctcnet.labels import LabelSchema


@dataclass(frozen=True)
class ScoredCrops:
    """Probabilities beside the truth, one row per crop.

    Attributes:
        schema: classes in the order of the columns (K of them).
        probabilities: (N, K) float, rows sum to 1.
        targets: (N, K) float, rows sum to 1; the mean over readers.
        unassigned: (N,) bool, the model would not name a class.
        path, group, batch: (N,) object; "" where not stated.
        levels: (N,) object, where the levels came from: 'cartridge', 'model' or 'per_crop'.
    """

    schema: LabelSchema
    probabilities: np.ndarray
    targets: np.ndarray
    unassigned: np.ndarray
    path: np.ndarray
    group: np.ndarray
    batch: np.ndarray
    levels: np.ndarray

    def __post_init__(self) -> None:
        count, classes = len(self.probabilities), len(self.schema.classes)
        if count == 0:
            raise StatisticsError("there are no crops to evaluate", fix="give a manifest with labelled crops")
        for name, array in (("probabilities", self.probabilities), ("targets", self.targets)):
            if array.shape != (count, classes):
                raise StatisticsError(
                    f"{name} have a wrong shape", expected=f"({count}, {classes})", found=f"{array.shape}"
                )
            off = np.abs(array.sum(axis=1) - 1).max()
            if not off < 1e-3:
                raise StatisticsError(f"{name} do not add up to 1", found=f"off by {off:.3g} at worst")

    def __len__(self) -> int:
        return len(self.probabilities)

    @cached_property
    def truth(self) -> np.ndarray:
        """(N,) int, class with the largest target; the first in class order on a tie between readers."""
        return self.targets.argmax(axis=1)

    @cached_property
    def called(self) -> np.ndarray:
        """(N,) int, class with the largest probability, whether assigned or not; the first on a tie."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def group_index(self) -> np.ndarray:
        """(N,) int, 0 to G - 1."""
        return np.unique(self.group.astype(str), return_inverse=True)[1]

    @property
    def group_count(self) -> int:
        """Number of groups G."""
        return int(self.group_index.max()) + 1

    def subset(self, rows: np.ndarray) -> ScoredCrops:
        """The given rows (indices or mask)."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "schema"}
        return ScoredCrops(self.schema, **{name: column[rows] for name, column in columns.items()})

    @staticmethod
    def pool(parts: Sequence[ScoredCrops]) -> ScoredCrops:
        """Rows of several parts with the same schema, one after another; at least one part."""
        names = [f.name for f in fields(ScoredCrops) if f.name != "schema"]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return ScoredCrops(parts[0].schema, **columns)

    def rollup(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds (N,) float64 of a roll-up and its truth (N,) bool.

        The odds are taken between the summed probabilities inside and outside, so that they stay apart where the
        probability rounds to 1; +-30 stands for certainty. Truth is half or more of the readers' weight inside.
        """
        inside = self.schema.rollup_mask(name)
        probabilities = self.probabilities.astype(np.float64)
        tiny = np.exp(-30.0)
        yes, no = probabilities[:, inside].sum(axis=1), probabilities[:, ~inside].sum(axis=1)
        log_odds = np.log(np.maximum(yes, tiny)) - np.log(np.maximum(no, tiny))
        return np.clip(log_odds, -30, 30), self.targets[:, inside].sum(axis=1) >= 0.5
