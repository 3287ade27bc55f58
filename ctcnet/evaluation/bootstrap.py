"""95 % percentile intervals by resampling whole groups (patients), because crops of one group are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ctcnet.errors import StatisticsError
from ctcnet.metrics import confusion_figures, group_confusion

LEVEL = 0.95
FEW_GROUPS = 10
"""Below this many groups a percentile interval is known to be too narrow; the result says so."""

_CHUNK_VALUES = 4_000_000


def resample_weights(groups: int, resamples: int, seed: int, chunk_values: int | None = None) -> Iterator[np.ndarray]:
    """How often each group is drawn in each resample, in chunks of shape (b, G); the same for the same seed.

    Args:
        groups: number of groups G, at least 2.
        resamples: number of resamples, at least 1.
        chunk_values: length of the arrays that the caller makes per resample, to bound its memory; default G.
    """
    if groups < 2 or resamples < 1:
        raise StatisticsError(
            "a bootstrap over groups needs two groups and one resample", found=f"{groups} groups, {resamples} resamples"
        )
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK_VALUES // max(groups, chunk_values or 0))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield generator.multinomial(groups, np.full(groups, 1 / groups), size=size).astype(np.float64)


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """Percentile interval over the finite ones of (B,) resampled figures; None where fewer than half are finite."""
    finite = values[np.isfinite(values)]
    if len(finite) * 2 < len(values) or not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_confusion(confusion: np.ndarray, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Figures of `confusion_figures` in each resample, shapes (B,) and (B, K), from group counts (G, K, K)."""
    groups, classes, _ = confusion.shape
    flat = confusion.reshape(groups, -1)
    parts = [
        confusion_figures((weights @ flat).reshape(-1, classes, classes))
        for weights in resample_weights(groups, resamples, seed)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Difference:
    """Figure of the first model minus that of the second, with its 95 % interval."""

    first: float
    second: float
    difference: float
    low: float
    high: float


def paired_difference(
    truth: np.ndarray,
    called_first: np.ndarray,
    called_second: np.ndarray,
    group: np.ndarray,
    num_classes: int,
    *,
    figures: Sequence[str] = ("macro_f1", "accuracy"),
    resamples: int = 2000,
    seed: int = 0,
) -> Mapping[str, Difference]:
    """Compare two models on the same crops: both are scored on the same resampled groups.

    Args:
        truth: (N,) int.
        called_first, called_second: (N,) int, or (S, N) for S repeats (seeds) whose figures are averaged.
        group: (N,) names.
        figures: names among `metrics.SCALAR_FIGURES`.

    Raises:
        StatisticsError: fewer than two groups.
    """
    names, index = np.unique(np.asarray(group).astype(str), return_inverse=True)

    def figures_of(called: np.ndarray) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
        tables = [group_confusion(truth, row, index, len(names), num_classes) for row in np.atleast_2d(called)]
        return (
            [confusion_figures(table.sum(axis=0)) for table in tables],
            [bootstrap_confusion(table, resamples, seed) for table in tables],
        )

    (points_a, draws_a), (points_b, draws_b) = figures_of(called_first), figures_of(called_second)
    result = {}
    for name in figures:
        first, second = (float(np.mean([p[name] for p in points])) for points in (points_a, points_b))
        draws = np.mean([d[name] for d in draws_a], axis=0) - np.mean([d[name] for d in draws_b], axis=0)
        low, high = percentile_interval(draws) or (float("nan"), float("nan"))
        result[name] = Difference(first, second, first - second, low, high)
    return result
