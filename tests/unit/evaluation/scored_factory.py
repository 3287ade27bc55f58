"""Scored crops made up for tests."""

from __future__ import annotations

import numpy as np

from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.labels import LabelSchema

FIVE = LabelSchema(
    "five",
    ("ctc", "leukocyte", "ctc_neutrophil_cluster", "ctc_platelet_cluster", "debris"),
    rollups={"contains_ctc": ("ctc", "ctc_neutrophil_cluster", "ctc_platelet_cluster")},
)


def make_scored(
    count: int = 400,
    groups: int = 12,
    seed: int = 0,
    signal: float = 3.0,
    schema: LabelSchema = FIVE,
    batches: tuple[str, ...] = ("",),
) -> ScoredCrops:
    """Crops whose probabilities are a softmax of noise with `signal` added at the truth."""
    rng = np.random.default_rng(seed)
    classes = len(schema.classes)
    truth = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) * 1.5
    logits[np.arange(count), truth] += signal
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    group = np.array([f"patient-{i}" for i in rng.integers(0, groups, count)], dtype=object)
    return ScoredCrops(
        schema,
        p,
        np.eye(classes)[truth],
        p.max(axis=1) < 0.5,
        np.array([f"crops/{i:05d}.tif" for i in range(count)], dtype=object),
        group,
        np.array([batches[i % len(batches)] for i in range(count)], dtype=object),
        np.full(count, "cartridge", dtype=object),
    )
