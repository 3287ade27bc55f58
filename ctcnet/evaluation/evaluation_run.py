"""One evaluation from crops to files: select, predict, summarise, write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet import __version__
from ctcnet.crops import LabelledCrops
from ctcnet.evaluation.conformal_figures import conformal_figures
from ctcnet.evaluation.gallery import make_galleries
from ctcnet.evaluation.predictions_table import write_predictions
from ctcnet.evaluation.prior import parse_prior, restate_prior
from ctcnet.evaluation.report import write_report
from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.evaluation.selection import select_rows
from ctcnet.evaluation.summary import plain, summarise
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ModelCard, fold_matrix
from ctcnet.runtime import Predictions, Predictor, classify_crops
from ctcnet.runtime.conformal import is_atypical, prediction_sets
from ctcnet.runtime.crop_prediction import match_channels

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class EvaluationSettings:
    """What a user may choose.

    Attributes:
        split: 'train', 'val', 'test' or "" for every crop.
        include_seen: keep groups that the model saw in training or validation; everything written says so.
        prior: text for `prior.parse_prior`; None keeps the model's prior.
        levels: 'auto', 'model' or 'per_crop', see `ctcnet.runtime.levels.choose_levels`.
        batch_size: crops at once; None takes what suits the device.
        resamples, seed: of the bootstrap over groups.
        progress: words beside a progress bar; None shows none.
    """

    split: str = ""
    include_seen: bool = False
    prior: str | None = None
    levels: str = "auto"
    batch_size: int | None = None
    resamples: int = 1000
    seed: int = 0
    progress: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """What the model said, the crops it was said about (row by row the same), and the content of `metrics.json`."""

    scored: ScoredCrops
    crops: LabelledCrops
    card: ModelCard
    metrics: Mapping[str, Any] = field(repr=False)


def evaluate_crops(
    predictor: Predictor,
    crops: LabelledCrops,
    schema: LabelSchema,
    settings: EvaluationSettings,
    *,
    source: Path,
    model_sha256: str,
) -> Evaluation:
    """Judge a model on crops of groups it never saw. Nothing is fitted.

    Args:
        predictor: the model.
        crops: labelled crops; their `targets` stand in the order of the model's classes.
        schema: the model's classes, with the roll-ups to report.
        settings: see there.
        source: where the crops come from, for the record.
        model_sha256: hash of the model's file, for the record.

    Raises:
        StatisticsError: no crop is left to judge the model on.
        ModelPanelError: the channels are not the model's.
    """
    card = predictor.card
    crops.require_targets()
    chosen = select_rows(crops.group, crops.split, card, only_split=settings.split, include_seen=settings.include_seen)
    prior = np.array(card.training_prior)
    if settings.prior is not None:
        prior = parse_prior(settings.prior, schema, card.training_prior)
    part = crops.subset(chosen.rows)
    predictions, levels = classify_crops(
        predictor, part, levels=settings.levels, batch_size=settings.batch_size, progress=settings.progress
    )
    scored = score_crops(part, schema, predictions, levels, card, None if settings.prior is None else prior)
    metrics = {
        **summarise(scored, prior, resamples=settings.resamples, seed=settings.seed),
        **provenance(card, scored, prior, settings, source, crops.simulated, model_sha256),
        **conformal_figures(predictions, scored.truth, card),
        "seen_groups_left_out": chosen.seen_groups_left_out,
        "includes_seen_groups": chosen.includes_seen_groups,
    }
    metrics["data"] |= {"rows_in_source": len(crops), "sha256": part.sha256}
    return Evaluation(scored, part, card, plain(metrics))


def score_crops(
    crops: LabelledCrops,
    schema: LabelSchema,
    predictions: Predictions,
    levels: np.ndarray,
    card: ModelCard,
    new_prior: np.ndarray | None = None,
) -> ScoredCrops:
    """Put answers beside the truth, restated at another prior where one is given.

    At another prior the largest probability changes, so that 'unassigned' is judged again by the card's threshold; what
    is atypical stays so.
    Conformal sets hold class by class, at any prior, and stay as they are: what was unassigned still is, and so is a
    crop whose set lacks the class that is the most probable now. Crops of a class that the panel cannot tell are of the
    class that it is called.
    """
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    unassigned = predictions.unassigned
    if new_prior is not None:
        probabilities = restate_prior(probabilities, card.training_prior, new_prior)
        sets = prediction_sets(predictions.probabilities, card)
        if sets is None:
            unclear = ~(probabilities.max(axis=1) >= card.unassigned_below)
            unassigned = unclear | is_atypical(predictions.atypicality, card)
        else:
            unassigned = unassigned | ~sets[np.arange(len(sets)), probabilities.argmax(axis=1)]
    targets, fold = crops.require_targets(), fold_matrix(schema.classes, card.folded)
    targets = targets if fold is None else targets @ fold
    return ScoredCrops(schema, probabilities, targets, unassigned, crops.path, crops.group, crops.batch, levels)


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write `metrics.json`, `predictions.parquet` and `report.html` into an existing folder."""
    scored, crops, card = evaluation.scored, evaluation.crops, evaluation.card
    channels = match_channels(crops.panel, card)
    background, scale = _levels_shown(evaluation, channels)

    def read(rows: np.ndarray) -> np.ndarray:
        return crops.read(rows, card.pixel_size_um, card.crop_size_px)[:, channels]

    galleries, white = make_galleries(scored, read, background, scale, card.panel)
    text = json.dumps(evaluation.metrics, indent=2, allow_nan=False)
    (folder / METRICS_FILE).write_text(text + "\n", encoding="utf-8")
    write_predictions(folder / "predictions.parquet", scored)
    write_report(folder / "report.html", scored, evaluation.metrics, galleries, white, card.panel.markers)


def _levels_shown(evaluation: Evaluation, channels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Levels (N, C) for the pictures: those that the prediction used, NaN where it used the crop's own."""
    names = evaluation.scored.levels
    own = evaluation.card.normalization
    shown = []
    for stated, model in ((evaluation.crops.background, own.background), (evaluation.crops.scale, own.scale)):
        levels = stated[:, channels].astype(np.float32)
        levels[names != "cartridge"] = np.nan
        if model is not None:
            levels[names == "model"] = np.asarray(model, dtype=np.float32)
        shown.append(levels)
    return shown[0], shown[1]


def provenance(
    card: ModelCard,
    scored: ScoredCrops,
    prior: np.ndarray,
    settings: EvaluationSettings,
    source: Path,
    simulated: bool | None,
    model_sha256: str,
) -> dict[str, Any]:
    """What `metrics.json` says beside the figures: model, data, prior and whether cells are simulated."""
    trained_on_simulated, data_simulated = card.training_data.simulated, simulated
    who = [
        text
        for text, holds in (
            ("The crops of this evaluation are simulated.", data_simulated),
            ("The model was trained on simulated cells.", trained_on_simulated),
        )
        if holds
    ]
    classes = scored.schema.classes
    return {
        "intended_use": "for research use only",
        "simulated": bool(who),
        "simulated_detail": " ".join(who),
        "model": {
            "name": card.name,
            "sha256": model_sha256,
            "backbone": card.backbone,
            "training_data_sha256": card.training_data.sha256,
            "trained_on_simulated": trained_on_simulated,
            "pixel_size_um": card.pixel_size_um,
            "crop_size_px": card.crop_size_px,
            "unassigned_below": card.unassigned_below,
            "not_told": dict(card.folded or {}),
        },
        "data": {
            "source": source.name,
            "split": settings.split,
            "simulated": data_simulated,
            "groups_are_file_names": bool((scored.group == scored.path).all()),
        },
        "prior": {
            "restated": settings.prior is not None,
            "used": dict(zip(classes, prior.tolist(), strict=True)),
            "training": dict(zip(classes, card.training_prior, strict=True)),
        },
        "leave_out": None,
        "software_version": __version__,
    }
