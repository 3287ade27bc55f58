"""How unusual a cartridge is, from the embeddings of a sample of its cells that each unit of work keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ctcnet.labels import LabelSchema
from ctcnet.runtime.cartridge_atypicality import (
    LEAST_LEUKOCYTES,
    CartridgeReference,
    CartridgeScore,
    called_leukocyte,
    cartridge_atypicality,
)
from ctcnet.scan.event_kinds import CELL
from ctcnet.scan.pipeline.work_folder import WorkFolder

SAMPLED_CELLS = 2000
"""Cells of a cartridge whose embeddings are kept, in equal parts from each place of its grid."""

EMBEDDING_COLUMN = "embedding"
"""Column of a unit: list of float32, null for the cells that are not in the sample."""


def sampled_rows(columns: Mapping[str, np.ndarray], places: int) -> np.ndarray:
    """Rows of a place's cells that are in the sample: spread evenly over them, without regard to their class.

    Clusters are left out, whose members are there, and objects without a nucleus, and frames whose channels do not
    belong together.

    Args:
        columns: `kind` and `unregistered` (N,) of the place's events.
        places: places of the cartridge's grid.
    """
    cells = np.flatnonzero((columns["kind"] == CELL) & ~columns["unregistered"])
    count = min(len(cells), -(-SAMPLED_CELLS // places))
    return cells[(2 * np.arange(count) + 1) * len(cells) // (2 * max(count, 1))]


def sample_column(rows: np.ndarray, embedding: np.ndarray, count: int) -> pa.Array:
    """`EMBEDDING_COLUMN` of a unit.

    Args:
        rows: (M,) rows of the unit's events that are in the sample.
        embedding: (M, D) float32 of these.
        count: events of the unit.
    """
    values: list[np.ndarray | None] = [None] * count
    for row, value in zip(rows, embedding, strict=True):
        values[row] = value
    return pa.array(values, type=pa.list_(pa.float32()))


def score_cartridge(work: WorkFolder, units: int, reference: CartridgeReference, labels: LabelSchema) -> CartridgeScore:
    """Score a cartridge from its finished units, all of which hold `EMBEDDING_COLUMN`."""
    names = [f"p{k}" for k in range(len(labels.classes))]
    parts = (work.read_columns(unit, [*names, EMBEDDING_COLUMN]) for unit in range(units))
    sample = pa.concat_tables([part.filter(part[EMBEDDING_COLUMN].is_valid()) for part in parts])
    if len(sample) < LEAST_LEUKOCYTES:
        return CartridgeScore(float("nan"), len(sample), False)
    embedding = np.stack(sample[EMBEDDING_COLUMN].to_numpy(zero_copy_only=False))
    probabilities = np.stack([sample[name].to_numpy() for name in names], axis=1)
    return cartridge_atypicality(reference, embedding, called_leukocyte(probabilities, labels))


def score_to_dict(score: CartridgeScore | None, reference: CartridgeReference | None) -> dict[str, Any]:
    """What `quality.json` says of the score; None stands for what there is not, and `reason` says why."""
    if score is None or reference is None:
        return {
            "score": None,
            "cells": None,
            "of_leukocytes": None,
            "reference_cartridges": None,
            "reason": "the model holds no reference of cartridges",
        }
    known = bool(np.isfinite(score.score))
    return {
        "score": float(f"{score.score:.6g}") if known else None,
        "cells": score.events,
        "of_leukocytes": score.of_leukocytes if known else None,
        "reference_cartridges": reference.cartridges,
        "reason": None if known else _why_unknown(score),
    }


def score_text(described: Mapping[str, Any]) -> str:
    """`score_to_dict` in words for the report."""
    if described["reason"] is not None:
        return f"not known: {described['reason']}"
    which = "called leukocyte" if described["of_leukocytes"] else "of all classes"
    return f"{described['score']:.2f} from {described['cells']} cells {which}; above 1 is atypical"


def _why_unknown(score: CartridgeScore) -> str:
    if score.events < LEAST_LEUKOCYTES:
        return f"{score.events} cells in the sample; at least {LEAST_LEUKOCYTES} are needed"
    return "the model's embeddings are no finite numbers"
