"""A model card read from plain data, and checked: files come from anywhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctcnet.call_rates import rates_from_dict
from ctcnet.errors import ModelFileError
from ctcnet.labels import CONTAINS_CTC, schema_from_dict
from ctcnet.log_odds import LogOddsShift
from ctcnet.model_card import (
    CARD_FORMAT,
    MOST_GUARD_BAND,
    OPTIONAL_FIELDS,
    PRECISIONS,
    ConformalCard,
    ModelCard,
    NormalizationCard,
    TrainingDataCard,
)
from ctcnet.normalization import MODES
from ctcnet.panel import panel_from_dict
from ctcnet.resampling import MOST_CROP_SIZE_PX
from ctcnet.settings_file import check_keys


def card_from_dict(content: Mapping[str, Any], where: str | Path = "model card") -> ModelCard:
    """Build a card from plain data.

    Raises:
        ModelFileError: keys or values are wrong, or the card is of a newer format.
    """
    if not isinstance(content, Mapping):
        raise ModelFileError("has a card that is no mapping", where=where, fix="train or export the model again")
    fields = ModelCard.__dataclass_fields__
    if content.get("card_format", CARD_FORMAT) != CARD_FORMAT:
        raise ModelFileError(
            "card has another format", where=where, expected=str(CARD_FORMAT), found=str(content["card_format"])
        )
    required = tuple(name for name in fields if name not in OPTIONAL_FIELDS)
    check_keys(content, required=required, optional=OPTIONAL_FIELDS, where=where, error=ModelFileError)
    try:
        levels = dict(content["normalization"])
        for name in ("background", "scale"):
            levels[name] = None if levels[name] is None else tuple(float(value) for value in levels[name])
        data = dict(content["training_data"])
        data["group_hashes"] = tuple(data["group_hashes"])
        card = ModelCard(
            **{
                **content,
                "panel": panel_from_dict(content["panel"], where=where),
                "labels": schema_from_dict(content["labels"], where=where),
                "normalization": NormalizationCard(**levels),
                "training_data": TrainingDataCard(**data),
                "training_prior": tuple(float(value) for value in content["training_prior"]),
                "limits": tuple(content["limits"]),
                "float_layers": tuple(content.get("float_layers", ())),
                "conformal": _conformal_from(content.get("conformal")),
                "rates": None if content.get("rates") is None else rates_from_dict(content["rates"]),
                "ctc_log_odds": _shift_from(content.get("ctc_log_odds")),
            }
        )
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as cause:
        raise ModelFileError(
            f"card is malformed ({cause})", where=where, fix="train or export the model again"
        ) from cause
    try:
        _check_card(card, where)
    except TypeError as cause:
        raise ModelFileError(
            f"card has a value of the wrong type ({cause})", where=where, fix="train or export the model again"
        ) from cause
    return card


def _conformal_from(content: Mapping[str, Any] | None) -> ConformalCard | None:
    if content is None:
        return None
    numbers = {name: tuple(float(value) for value in content[name]) for name in ("alpha", "thresholds")}
    return ConformalCard(**{**content, **numbers, "calibration_crops": tuple(content["calibration_crops"])})


def _shift_from(content: Mapping[str, Any] | None) -> LogOddsShift | None:
    if content is None:
        return None
    return LogOddsShift(**{name: tuple(float(value) for value in values) for name, values in content.items()})


def _shift_fits(card: ModelCard) -> bool:
    """Whether log-odds keep their order, and there are classes on both sides of the roll-up."""
    if card.ctc_log_odds is None:
        return True
    inside = len(card.labels.rollups.get(CONTAINS_CTC, ()))
    return 0 < inside < len(card.labels.classes) and card.ctc_log_odds.keeps_order


def _folds(card: ModelCard) -> bool:
    classes, folded = card.labels.classes, card.folded or {}
    return isinstance(folded, Mapping) and all(
        a in classes and b in classes and b not in folded for a, b in folded.items()
    )


def _rates_fit(card: ModelCard) -> bool:
    """Whether rates are of each class that they are needed for, on the side of the roll-up that it is on."""
    if card.rates is None:
        return True
    inside = set(card.labels.rollups.get(CONTAINS_CTC, ()))
    without = set(card.labels.classes) - inside - set(card.folded or {})
    return bool(inside) and set(card.rates.true_calls) <= inside and set(card.rates.false_calls) == without


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _check_card(card: ModelCard, where: str | Path) -> None:
    channels = len(card.panel.channels)
    levels = card.normalization
    classes = len(card.labels.classes)
    conformal = card.conformal or ConformalCard((0.5,) * classes, (0.5,) * classes, (0,) * classes)
    data = card.training_data
    texts = (card.name, card.backbone, card.software_version, card.licence, card.intended_use, data.sha256)
    numbers = (card.temperature, card.unassigned_below, card.guard_band, card.pixel_size_um, levels.floor)
    counts = data.crops_per_class
    checks = (
        (all(isinstance(text, str) for text in texts), "names, versions, licence and hashes as text"),
        (all(map(_is_number, numbers)), "temperature, threshold, guard band, pixel size and floor as finite numbers"),
        (isinstance(counts, Mapping) and all(map(_is_number, counts.values())), "a number of crops per class"),
        (
            data.simulated is None or isinstance(data.simulated, bool),
            "whether the crops are simulated: true, false, null",
        ),
        (
            isinstance(card.validation, Mapping) and isinstance(card.training_settings, Mapping),
            "figures, settings by name",
        ),
        (levels.mode in MODES, f"mode is one of {', '.join(MODES)}"),
        (
            levels.mode == "per_crop" or None not in (levels.background, levels.scale),
            "background and scale for modes other than per_crop",
        ),
        (levels.background is None or len(levels.background) == channels, "one background per channel"),
        (levels.scale is None or len(levels.scale) == channels, "one scale per channel"),
        (levels.scale is None or all(value > 0 for value in levels.scale), "scales above 0"),
        (len(card.training_prior) == len(card.labels.classes), "one prior per class"),
        (abs(sum(card.training_prior) - 1) < 1e-3, "priors that add up to 1"),
        (card.temperature > 0, "a temperature above 0"),
        (
            _is_number(card.guard_band) and 0 <= card.guard_band <= MOST_GUARD_BAND,
            f"a guard band from 0 to {MOST_GUARD_BAND:g}",
        ),
        (card.precision in PRECISIONS, f"a precision out of {', '.join(PRECISIONS)}"),
        (card.pixel_size_um > 0, "a pixel size above 0"),
        (isinstance(card.crop_size_px, int) and 0 < card.crop_size_px <= MOST_CROP_SIZE_PX, "a crop size in pixels"),
        (len(conformal.thresholds) == len(card.labels.classes), "one conformal threshold per class"),
        (len(conformal.calibration_crops) == len(card.labels.classes), "calibration crops of each class"),
        (all(0 <= value <= 1 for value in conformal.thresholds), "conformal thresholds from 0 to 1"),
        (len(conformal.alpha) == classes, "one alpha per class"),
        (all(0 < value < 1 for value in conformal.alpha), "alphas above 0 and below 1"),
        (_folds(card), "folded classes that differ from what they are folded into, each of the labels"),
        (_rates_fit(card), "false calls of each class without a CTC, true calls of classes with one"),
        (_shift_fits(card), "a shift of log-odds that keeps their order, and classes with a CTC and without"),
        (card.atypicality_quantile is None or 0 < card.atypicality_quantile < 1, "an atypicality quantile below 1"),
    )
    for holds, expected in checks:
        if not holds:
            raise ModelFileError("card contradicts itself", where=where, expected=expected)
