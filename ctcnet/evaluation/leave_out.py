"""Leave one batch (site, scanner or day) out, in turn: how a model does on a batch that it never met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.crops import LabelledCrops
from ctcnet.errors import SettingError, StatisticsError
from ctcnet.evaluation.evaluation_run import Evaluation, EvaluationSettings, provenance, score_crops
from ctcnet.evaluation.prior import parse_prior
from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.evaluation.summary import plain, summarise
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ModelCard
from ctcnet.runtime import Predictor, classify_crops


def batches_to_leave_out(crops: LabelledCrops) -> list[str]:
    """Names of the batches, sorted.

    Raises:
        StatisticsError: a crop states no batch, or there are fewer than two.
    """
    names = sorted(set(map(str, crops.batch)))
    if "" in names or len(names) < 2:
        raise StatisticsError(
            "leaving one batch out needs two batches or more, and every crop's batch",
            expected="a column 'batch' in the manifest, filled in every row",
            found=", ".join(name or "(not stated)" for name in names),
        )
    return names


def evaluate_left_out(
    train: Callable[[str], tuple[Predictor, str]],
    crops: LabelledCrops,
    schema: LabelSchema,
    settings: EvaluationSettings,
    *,
    card: ModelCard,
    source: Path,
    model_sha256: str,
) -> Evaluation:
    """Judge each batch by a model trained on all others, and all batches pooled.

    Args:
        train: name of a batch -> the model trained without it, and the hash of its file.
        crops: all labelled crops, each with its batch.
        schema: the classes, with the roll-ups to report.
        settings: as for `evaluate_crops`; 'split' must be empty, since batches are what divides the crops.
        card, model_sha256: of the model whose settings the training follows.
        source: where the crops come from.

    Raises:
        SettingError: a split is set too.
        StatisticsError: see `batches_to_leave_out`.
    """
    if settings.split:
        raise SettingError("--leave-out and --split exclude one another", fix="leave one of them out")
    parts: list[ScoredCrops] = []
    rows, models, priors = [], [], []
    for name in batches_to_leave_out(crops):
        predictor, sha256 = train(name)
        inside = np.flatnonzero(crops.batch.astype(str) == name)
        part, own = crops.subset(inside), predictor.card
        prior = None if settings.prior is None else parse_prior(settings.prior, schema, own.training_prior)
        answers, levels = classify_crops(
            predictor, part, levels=settings.levels, batch_size=settings.batch_size, progress=settings.progress
        )
        parts.append(score_crops(part, schema, answers, levels, own, prior))
        rows.append(inside)
        models.append({"left_out": name, "sha256": sha256, "crops": len(part), "temperature": own.temperature})
        priors.append(len(part) * (np.array(own.training_prior) if prior is None else prior))
    scored = ScoredCrops.pool(parts)
    used = np.sum(priors, axis=0) / len(scored)
    metrics: dict[str, Any] = {
        **summarise(scored, used, resamples=settings.resamples, seed=settings.seed),
        **provenance(card, scored, used, settings, source, crops.simulated, model_sha256),
        "seen_groups_left_out": 0,
        "includes_seen_groups": False,
        "leave_out": {
            "column": "batch",
            "models": models,
            "statement": f"{len(models)} models were trained anew with this model's settings, each without one batch, "
            "and each crop was judged by the model that never met its batch. The figures are of the settings, not of "
            "the one model named here; the prior is the mean over the models.",
        },
    }
    metrics["data"]["rows_in_source"] = len(crops)
    return Evaluation(scored, crops.subset(np.concatenate(rows)), card, plain(metrics))
