"""The table that `ctcnet classify` writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from ctcnet import __version__
from ctcnet.model_card import ModelCard
from ctcnet.output import new_output_file
from ctcnet.panel import Panel
from ctcnet.runtime import Predictions
from ctcnet.runtime.conformal import for_review, prediction_sets, set_names
from ctcnet.runtime.predictions import entropy_nats

ENDINGS = (".parquet", ".csv")


def prediction_table(paths: np.ndarray, predictions: Predictions, levels: np.ndarray, card: ModelCard) -> pa.Table:
    """Table of one row per crop.

    Args:
        paths: (N,) names of the crops.
        predictions: answers in the same order.
        levels: (N,) where each crop's levels came from: 'cartridge', 'model' or 'per_crop'.
        card: the model's.

    Returns:
        Columns path, label (most probable class), p_<class> float32, entropy float32 in nats, unassigned bool, levels,
        atypicality float32 (null where the model has none); where the model has conformal sets also set (its classes
        joined by '|') and review bool (unassigned, and may contain a CTC). The p_<class> of a row add up to 1; a class
        that the panel cannot tell (`ModelCard.folded`) has 0, and its probability is in that of what it is called.
    """
    p, classes = predictions.probabilities, card.labels.classes
    columns: dict[str, pa.Array] = {
        "path": pa.array([str(path) for path in paths], pa.string()),
        "label": pa.array([classes[index] for index in p.argmax(axis=1)], pa.string()),
    }
    columns |= {f"p_{name}": pa.array(p[:, k], pa.float32()) for k, name in enumerate(classes)}
    columns["entropy"] = pa.array(entropy_nats(p), pa.float32())
    columns["unassigned"] = pa.array(predictions.unassigned, pa.bool_())
    columns["levels"] = pa.array(list(levels), pa.string())
    columns["atypicality"] = pa.array(predictions.atypicality, pa.float32(), from_pandas=True)
    sets = prediction_sets(p, card)
    if sets is not None:
        columns["set"] = pa.array(set_names(sets, classes), pa.string())
        columns["review"] = pa.array(for_review(p, predictions.unassigned, card), pa.bool_())
    return pa.table(columns)


def table_metadata(model_sha256: str, card: ModelCard, panel: Panel) -> dict[str, str]:
    """What the Parquet file says about where its rows come from; `not_told`: each class that the panel cannot tell, to
    what it is called."""
    return {
        "model_sha256": model_sha256,
        "model_name": card.name,
        "software_version": __version__,
        "panel": json.dumps(panel.to_dict()),
        "not_told": json.dumps(dict(card.folded or {})),
        "training_prior": json.dumps(dict(zip(card.labels.classes, card.training_prior, strict=True))),
        "notice": "for research use only",
    }


def write_table(table: pa.Table, path: Path, *, overwrite: bool) -> None:
    """Write a table as Parquet or, where `path` ends in .csv, as CSV (which carries no metadata).

    Raises:
        OutputError: the file exists already or cannot be written.
    """
    with new_output_file(path, overwrite=overwrite) as part:
        if path.suffix == ".csv":
            csv.write_csv(table, part, csv.WriteOptions(quoting_style="needed"))
        else:
            parquet.write_table(table, part, compression="zstd")
