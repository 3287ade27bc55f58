"""Division of groups into parts of given shares, classes spread as evenly as the groups allow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from ctcnet.errors import SplitError

FEW_WAYS = 3000
"""Divisions that are all tried where there are no more."""
RESTARTS = 16
"""Greedy divisions of which the best is taken."""
MANY_GROUPS, RESTARTS_MANY_GROUPS = 300, 2
MENDING_PASSES = 3


def class_names_or_numbers(class_names: Sequence[str] | None, targets: np.ndarray) -> list[str]:
    """Names of the classes for messages: 'class 0' and so on where none are given."""
    return list(class_names) if class_names else [f"class {number}" for number in range(targets.shape[1])]


def group_counts(
    group: np.ndarray, targets: np.ndarray, where: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of each row's group, names of the groups, and their crops per class, float64 (G, K).

    Raises:
        SplitError: a row has no group; names `where`, the manifest.
    """
    without = int((group == "").sum())
    if without:
        raise SplitError(
            f"{without} of {len(group)} crops have no group",
            where=where,
            fix="fill the manifest's column 'group' with the patient or sample that a crop comes from",
        )
    names, row_groups = np.unique(group.astype(str), return_inverse=True)
    counts = np.zeros((len(names), targets.shape[1]))
    np.add.at(counts, row_groups, targets)
    return row_groups, names, counts


def best_division(counts: np.ndarray, fractions: np.ndarray, seed: int) -> np.ndarray:
    """Part of each group, int64 (G,), drawn so that each class is shared out as evenly as its groups allow.

    Where there are few ways all are tried; else the best of several greedy divisions is mended group by group.

    Args:
        counts: crops per group and class, (G, K).
        fractions: shares of the parts, (P,), adding up to 1; the first part is the one that must lack no class.
        seed: of the order in which the groups are looked at; decides between divisions that are equally good.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(counts))
    task = _Task(counts[order], fractions)
    if len(fractions) ** len(counts) <= FEW_WAYS:
        ways = (np.array(way) for way in product(range(len(fractions)), repeat=len(counts)))
        best = min(ways, key=task.badness)
    else:
        restarts = RESTARTS if len(counts) <= MANY_GROUPS else RESTARTS_MANY_GROUPS
        best = min((task.deal_out(rng) for _ in range(restarts)), key=task.badness)
        if len(counts) <= MANY_GROUPS:
            best = task.mended(best)
    part = np.empty(len(counts), dtype=np.int64)
    part[order] = best
    return part


class _Task:
    """What is to be divided, and how good a division is."""

    def __init__(self, counts: np.ndarray, fractions: np.ndarray) -> None:
        totals = np.maximum(counts.sum(axis=0), 1e-12)
        self.holds = counts > 0
        self.shares = np.concatenate([counts / totals, counts.sum(axis=1, keepdims=True) / counts.sum()], axis=1)
        self.wanted = fractions[:, None]
        self.groups_of_class = self.holds.sum(axis=0)

    def badness(self, part: np.ndarray) -> tuple[int, int, float]:
        """Classes absent from the first part and empty parts; classes absent from others; unevenness."""
        inside = np.arange(len(self.wanted))[:, None] == part[None]
        present = (inside @ self.holds.astype(np.int64)) > 0
        unusable = int((~inside.any(axis=1)).sum() + (~present[0] & (self.groups_of_class > 0)).sum())
        possible = np.minimum(self.groups_of_class, len(self.wanted))
        lacking = int((possible - present.sum(axis=0)).clip(0).sum())
        uneven = ((inside @ self.shares - self.wanted) ** 2 / self.wanted).sum()
        return unusable, lacking, float(round(uneven, 9))

    def deal_out(self, rng: np.random.Generator) -> np.ndarray:
        """Deal groups out, those that hold most of a class first, each to where the shares come out most even."""
        held = np.zeros((len(self.wanted), self.shares.shape[1]))
        alone = (self.holds & (self.groups_of_class == 1)).any(axis=1)
        rank = self.shares.max(axis=1) + rng.normal(0, 0.02, len(self.shares)) + 2 * alone
        part = np.zeros(len(self.shares), dtype=np.int64)
        for group in np.argsort(-rank):
            before, after = held - self.wanted, held + self.shares[group] - self.wanted
            worse = ((after**2 - before**2) / self.wanted).sum(axis=1)
            part[group] = 0 if alone[group] else worse.argmin()
            held[part[group]] += self.shares[group]
        return part

    def mended(self, part: np.ndarray) -> np.ndarray:
        """Move single groups while that makes the division better, at most `MENDING_PASSES` times through all."""
        best = self.badness(part)
        for _ in range(MENDING_PASSES):
            start = best
            for group in range(len(part)):
                for target in range(len(self.wanted)):
                    moved = part.copy()
                    moved[group] = target
                    badness = self.badness(moved)
                    if badness < best:
                        part, best = moved, badness
            if best == start:
                break
        return part
