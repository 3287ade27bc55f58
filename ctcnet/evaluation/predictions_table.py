"""`predictions.parquet`: what the model said about every crop that was evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctcnet.evaluation.scored_crops import ScoredCrops


def write_predictions(path: Path, scored: ScoredCrops) -> None:
    """Write path, group, batch, label (truth), predicted, p_<class>, unassigned and levels, one row per crop.

    The p_<class> of a row add up to 1; a class that the panel cannot tell (`ModelCard.folded`) has 0, and its
    probability is in that of what it is called.
    """
    classes = np.array(scored.schema.classes, dtype=object)
    columns: dict[str, pa.Array] = {
        name: pa.array(getattr(scored, name).astype(str), pa.string()) for name in ("path", "group", "batch")
    }
    columns["label"] = pa.array(classes[scored.truth], pa.string())
    columns["predicted"] = pa.array(classes[scored.called], pa.string())
    for index, name in enumerate(scored.schema.classes):
        columns[f"p_{name}"] = pa.array(scored.probabilities[:, index].astype(np.float32))
    columns["unassigned"] = pa.array(scored.unassigned.astype(bool))
    columns["levels"] = pa.array(scored.levels.astype(str), pa.string())
    table = pa.table(columns).replace_schema_metadata({"intended_use": "for research use only"})
    pq.write_table(table, path)
