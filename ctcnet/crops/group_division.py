"""Division of groups into parts of given shares, classes spread as evenly as the groups allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctcnet.errors import SplitError

RESTARTS = 24
"""Orders of the groups tried; the division with the fewest classes missing, then the most even one, is kept."""
RESTARTS_MANY_GROUPS = 2
MANY_GROUPS = 2000


def class_names_or_numbers(class_names: Sequence[str] | None, targets: np.ndarray) -> list[str]:
    """Names of the classes for messages: 'class 0' and so on where none are given."""
    return list(class_names) if class_names else [f"class {number}" for number in range(targets.shape[1])]


def group_counts(group: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of each row's group, names of the groups, and their crops per class, float64 (G, K)."""
    without = int((group == "").sum())
    if without:
        raise SplitError(
            f"{without} of {len(group)} crops have no group",
            fix="fill the manifest's column 'group' with the patient or sample that a crop comes from",
        )
    names, row_groups = np.unique(group.astype(str), return_inverse=True)
    counts = np.zeros((len(names), targets.shape[1]))
    np.add.at(counts, row_groups, targets)
    return row_groups, names, counts


def best_division(counts: np.ndarray, fractions: np.ndarray, seed: int, pinned: np.ndarray) -> np.ndarray:
    """Part of each group, int64 (G,): the best of several greedy divisions. Pinned groups are in part 0."""
    rng = np.random.default_rng(seed)
    restarts = RESTARTS if len(counts) <= MANY_GROUPS else RESTARTS_MANY_GROUPS
    divisions = [_greedy_division(counts, fractions, rng, pinned) for _ in range(restarts)]
    return min(divisions, key=lambda division: division[:2])[2]


def _greedy_division(
    counts: np.ndarray, fractions: np.ndarray, rng: np.random.Generator, pinned: np.ndarray
) -> tuple[int, float, np.ndarray]:
    """Deal groups out, those that hold most of a class first, each to where the shares come out most even.

    Returns:
        number of empty places (part and class, an empty part counting as many), unevenness, and part of each group.
    """
    totals = np.maximum(counts.sum(axis=0), 1e-12)
    shares = np.concatenate([counts / totals, counts.sum(axis=1, keepdims=True) / counts.sum()], axis=1)
    wanted = fractions[:, None]
    held = np.zeros((len(fractions), shares.shape[1]))
    part = np.zeros(len(counts), dtype=np.int64)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-shares[order].max(axis=1) + rng.normal(0, 0.02, len(order)), kind="stable")]
    for group in [*order[pinned[order]], *order[~pinned[order]]]:
        if pinned[group]:
            best = 0
        else:
            before, after = held - wanted, held + shares[group] - wanted
            best = int((((after**2 - before**2) / wanted).sum(axis=1)).argmin())
        held[best] += shares[group]
        part[group] = best
    present = np.stack([counts[part == number].sum(axis=0) > 0 for number in range(len(fractions))])
    possible = np.minimum((counts > 0).sum(axis=0), len(fractions))
    empty_parts = (~present.any(axis=1)).sum()
    lacking_first = (~present[0] & (possible > 0)).sum()
    lacking = int((possible - present.sum(axis=0)).sum()) + counts.shape[1] * int(
        len(fractions) * (empty_parts + lacking_first)
    )
    return lacking, float(((held - wanted) ** 2 / wanted).sum()), part
