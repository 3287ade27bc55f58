"""Training on all folds, or all batches, but one in turn, and the predictions for what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.errors import SettingError
from ctcnet.labels import LabelSchema
from ctcnet.output import check_output
from ctcnet.training.checkpoint import load_classifier
from ctcnet.training.command_line import run
from ctcnet.training.torch_predictor import TorchPredictor

TABLE = "out_of_fold.parquet"
_CHUNK = 256


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for crops by a model that was not trained on their groups, pooled over the models.

    Attributes:
        schema: classes in the order of the columns of targets and probabilities.
        path, group, left_out: object (N,): crop, its group, and the fold or batch that it belongs to.
        targets, probabilities: float32 (N, K), rows add up to 1.
    """

    schema: LabelSchema
    path: np.ndarray
    group: np.ndarray
    left_out: np.ndarray
    targets: np.ndarray
    probabilities: np.ndarray


def run_folds(config: Path, overrides: Mapping[str, Any], parts: Sequence[int | str], out: Path) -> OutOfFold:
    """Train once for each part with the part left out, and predict it. Runs in this process, one after the other.

    Args:
        config: YAML configuration of training.
        overrides: dotted option -> value, such as {'data.manifest': 'm.csv', 'trainer.max_epochs': 5}.
        parts: folds (numbers), or what to leave out ('batch=A').
        out: new folder; it gets a run folder for each part, and the pooled predictions as a Parquet file.

    Raises:
        OutputError: `out` holds something already.
        CtcnetError: training fails.
    """
    if not parts:
        raise SettingError("there are no folds to run")
    check_output(out, overwrite=False)
    pooled: list[OutOfFold] = []
    for part in parts:
        chosen = {"data.split.fold": part} if isinstance(part, int) else {"data.split.leave_out": part}
        run_dir = out / f"fold_{part}".replace("=", "_").replace("/", "_")
        options = {**overrides, **chosen, "run_dir": run_dir}
        cli = run(["fit", "--config", str(config), *(f"--{name}={_text(value)}" for name, value in options.items())])
        predictor = load_classifier(run_dir / "best.ckpt", cli.model.device)
        pooled.append(predict_part(predictor, cli.datamodule, str(part)))
    joined = _join(pooled)
    _write(joined, out / TABLE)
    return joined


def predict_part(predictor: TorchPredictor, data: CropDataModule, left_out: str) -> OutOfFold:
    """Predict the test part of a data module that was set up."""
    rows = data.rows_of("test")
    dataset = data.dataset("test")
    stated = data.levels.mode == "cartridge"
    probabilities = []
    for start in range(0, len(rows), _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, len(rows)))
        levels = (dataset.background[chunk], dataset.scale[chunk]) if stated else (None, None)
        probabilities.append(predictor.predict(dataset.read(chunk), *levels).probabilities)
    crops = data.crops
    return OutOfFold(
        data.schema,
        crops.path[rows],
        crops.group[rows],
        np.full(len(rows), left_out, dtype=object),
        crops.require_targets()[rows],
        np.concatenate(probabilities),
    )


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _join(parts: Sequence[OutOfFold]) -> OutOfFold:
    columns = ("path", "group", "left_out", "targets", "probabilities")
    return OutOfFold(parts[0].schema, *(np.concatenate([getattr(p, name) for p in parts]) for name in columns))


def _write(pooled: OutOfFold, path: Path) -> None:
    columns: dict[str, Any] = {name: pa.array(getattr(pooled, name)) for name in ("path", "group", "left_out")}
    for place, name in enumerate(pooled.schema.classes):
        columns[f"target_{name}"] = pooled.targets[:, place]
        columns[f"p_{name}"] = pooled.probabilities[:, place]
    pq.write_table(pa.table(columns), path)
