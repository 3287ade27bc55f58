"""From an evaluation to the rates that a model's card may state, or the reason why it may not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctcnet.call_rates import DECISION, CallRates, rates_from_dict
from ctcnet.errors import StatisticsError
from ctcnet.evaluation.evaluation_run import METRICS_FILE
from ctcnet.model_card import ModelCard

LEAST_POSITIVES = 50
"""Events with a CTC that a sensitivity is stated from: at worst its exact interval is then 14 points to either side."""
LEAST_NEGATIVES = 300
"""Events of each class without a CTC that false calls are stated from: none seen bounds their rate by 1 %."""
CELLS: Mapping[str, bool] = {"real": False, "simulated": True}
"""What a user may state of the cells -> whether they are simulated."""

_SCAN_LEVELS = {"cartridge": "cartridge", "fixed": "model", "per_crop": "per_crop"}
"""Mode of a model -> where a scan takes the levels of its crops from."""


def rates_from_evaluation(folder: Path, card: ModelCard, model_sha256: str, cells: str | None) -> CallRates:
    """Rates of a model from the folder that `ctcnet evaluate` wrote about it.

    Args:
        folder: holds `metrics.json`.
        card: of the model.
        model_sha256: hash of its file.
        cells: 'real' or 'simulated', the user's statement; None where the evaluation's data say so themselves.

    Raises:
        StatisticsError: there is no such evaluation, or a scan may not correct its counts by it: it is of another
            model, of groups that the model saw, of models trained anew, at another prior, with other levels, of too few
            events of a class, or of cells of an unknown origin.
    """
    path = folder / METRICS_FILE
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise StatisticsError(
            "is no evaluation", where=path, expected="a folder that ctcnet evaluate wrote", found=str(cause)
        ) from cause
    try:
        _check_same_decision(metrics, card, model_sha256, path)
        counts = metrics["contains_ctc"]["as_counted"]
        _check_enough(counts, card, path)
        return rates_from_dict(
            {
                **counts,
                "simulated": _simulated(metrics["data"]["simulated"], cells, path),
                "levels": _SCAN_LEVELS[card.normalization.mode],
                "groups": metrics["groups"],
                "data_sha256": metrics["data"]["sha256"],
                "model_sha256": model_sha256,
                "software_version": metrics["software_version"],
            }
        )
    except (TypeError, ValueError, KeyError, AttributeError) as cause:
        raise StatisticsError(
            "evaluation lacks what rates are stated from, or contradicts itself",
            where=path,
            found=f"{type(cause).__name__}: {cause}",
            fix="evaluate the model again with this version of ctcnet",
        ) from cause


def _check_same_decision(metrics: Mapping[str, Any], card: ModelCard, model_sha256: str, where: Path) -> None:
    """Refuse what was not measured on this model, on groups new to it, by the decision of a scan."""
    wanted = _SCAN_LEVELS[card.normalization.mode]
    evaluated, levels = metrics["model"]["sha256"], metrics["levels"]
    anew = "is of models that were trained anew for it (--leave-out)"
    refusals = (
        (metrics["leave_out"] is not None, anew, "this very model", "--leave-out"),
        (evaluated != model_sha256, "is of another model", f"sha256 {model_sha256}", f"sha256 {evaluated}"),
        (metrics["includes_seen_groups"], "has groups that the model saw", "groups new to it", "--include-seen"),
        (metrics["prior"]["restated"], "is at another prior", "the model's prior, as in a scan", "--prior"),
        (set(levels) != {wanted}, "took other levels than a scan does", f"levels '{wanted}'", ", ".join(levels)),
        ("contains_ctc" not in metrics, "is of classes of which none contains a CTC", "the roll-up", "none"),
    )
    for holds, what, expected, found in refusals:
        if holds:
            raise StatisticsError(
                f"the evaluation {what}, so that its rates are not those of a scan",
                where=where,
                expected=expected,
                found=found,
                fix="evaluate this file on crops of groups that it never saw, which state the levels that a scan "
                f"takes: ctcnet evaluate MODEL.onnx MANIFEST -o OUT (levels '{wanted}')",
            )
    if metrics["contains_ctc"]["as_counted"]["decision"] != DECISION:
        raise ValueError(f"calls that are not: {DECISION}")


def _check_enough(counts: Mapping[str, Any], card: ModelCard, where: Path) -> None:
    """Refuse a sensitivity of too few events or of 0, and false calls of a class with too few events."""
    positives = counts["sensitivity"] or {"called": 0, "events": 0}
    if positives["events"] < LEAST_POSITIVES:
        raise _too_few("events with a CTC", positives["events"], LEAST_POSITIVES, where)
    if positives["called"] == 0:
        raise StatisticsError(
            "the model called none of the events with a CTC: no count can be corrected by a sensitivity of 0",
            where=where,
            found=f"0 of {positives['events']}",
        )
    inside = card.labels.rollups["contains_ctc"]
    for name in card.labels.classes:
        events = counts["false_calls"].get(name, {"events": 0})["events"]
        if name not in inside and name not in (card.folded or {}) and events < LEAST_NEGATIVES:
            raise _too_few(f"events of {name}", events, LEAST_NEGATIVES, where)


def _too_few(what: str, found: int, least: int, where: Path) -> StatisticsError:
    return StatisticsError(
        f"too few {what} to state a rate from",
        where=where,
        expected=f"{least} or more, of groups that the model never saw",
        found=str(found),
        fix="evaluate the model on more labelled crops",
    )


def _simulated(of_data: bool | None, cells: str | None, where: Path) -> bool:
    """Whether the cells are simulated, by the data themselves or else by the user."""
    if of_data is None and cells is None:
        raise StatisticsError(
            "does not say whether its cells are real or simulated", where=where, fix="state it: --cells real"
        )
    if of_data is None:
        return CELLS[str(cells)]
    if cells is not None and of_data != CELLS[cells]:
        own = next(name for name, simulated in CELLS.items() if simulated == of_data)
        raise StatisticsError(
            "says otherwise of its cells", where=where, expected=f"--cells {own}", found=f"--cells {cells}"
        )
    return of_data
