"""Model card: what a model file says about itself, in one place for checkpoints, ONNX files and people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.call_rates import CallRates
from ctcnet.labels import LabelSchema
from ctcnet.log_odds import LogOddsShift
from ctcnet.panel import Panel

CARD_FORMAT = 1
MOST_GUARD_BAND = 0.02
"""Of INT8, the widest. Golden answers may differ by the guard band, so that a wider one would let anything pass."""
PRECISIONS: tuple[str, ...] = ("float32", "int8", "fp16")
SHIPPED_MODEL = "shipped_model"
"""Among `ModelCard.training_settings`: name of the shipped model that was specialised, and calibrated on simulated
crops."""
INTENDED_USE = (
    "For research use only. Classification of cropped multichannel images of cells; not validated for diagnosis."
)


@dataclass(frozen=True)
class NormalizationCard:
    """Where the levels come from, and the model's own.

    Attributes:
        mode: one of `ctcnet.normalization.MODES`.
        background, scale: counts per channel used where none are given; None in the mode 'per_crop'.
        floor: least scale in counts.
        shared_scale: in the mode 'per_crop', whether the channels of a crop share one scale.
    """

    mode: str
    background: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    floor: float
    shared_scale: bool = False


@dataclass(frozen=True)
class TrainingDataCard:
    """What the model was trained on.

    Attributes:
        sha256: hash of the training crops and their labels.
        simulated: whether the crops were simulated; None where the manifest does not say.
        crops: number of training crops; crops_per_class and groups likewise, for training alone.
        group_hashes: `hash_group` of every group seen in training or validation, so that evaluation can leave them out.
    """

    sha256: str
    simulated: bool | None
    crops: int
    groups: int
    crops_per_class: Mapping[str, float]
    group_hashes: tuple[str, ...]


@dataclass(frozen=True)
class ConformalCard:
    """Class-conditional conformal sets, see `ctcnet.runtime.conformal`.

    Attributes:
        alpha: per class, nominal share of its crops whose set lacks it.
        thresholds: per class, in the order of the outputs: it is in a crop's set where its probability reaches this.
        calibration_crops: crops of each class that the thresholds were fitted on.
    """

    alpha: tuple[float, ...]
    thresholds: tuple[float, ...]
    calibration_crops: tuple[int, ...]


@dataclass(frozen=True)
class ModelCard:
    """Description of a trained classifier.

    Attributes:
        name: name of the model.
        backbone: name in the registry of networks.
        panel: channels in the order of the model's input.
        labels: classes in the order of its outputs.
        pixel_size_um: micrometres per pixel of its input.
        crop_size_px: side of its square input.
        normalization: see `NormalizationCard`.
        temperature: logits are divided by it; 1 where none was fitted.
        training_prior: class frequencies that the probabilities refer to, summing to 1.
        unassigned_below: an event is unassigned when its largest probability is below this.
        guard_band: decisions may differ between runtimes where two probabilities are closer than this.
        training_data: see `TrainingDataCard`.
        training_settings: the settings of the run, as plain data.
        validation: figures measured on validation data at the end of training.
        limits: sentences on what the model cannot do, such as classes its panel cannot separate.
        conformal: sets that decide what is unassigned instead of `unassigned_below`; None where none were fitted.
        atypicality_quantile: share of typical crops that score below 1; None where the model has no atypicality.
        folded: class that the panel cannot tell to the class that its probability is added to; None for none.
        precision: one of `PRECISIONS`, that of the convolutions that are not in `float_layers`; the rest is float32.
        float_layers: convolutions of a model of another precision that stayed in float32.
        rates: sensitivity and false calls by which a scan corrects its counts; None where they were not measured.
        ctc_log_odds: shift of the log-odds of P(contains a CTC) after the temperature; None for none.
    """

    name: str
    backbone: str
    panel: Panel
    labels: LabelSchema
    pixel_size_um: float
    crop_size_px: int
    normalization: NormalizationCard
    temperature: float
    training_prior: tuple[float, ...]
    unassigned_below: float
    training_data: TrainingDataCard
    software_version: str
    guard_band: float = 1e-3
    training_settings: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    intended_use: str = INTENDED_USE
    card_format: int = CARD_FORMAT
    conformal: ConformalCard | None = None
    atypicality_quantile: float | None = None
    folded: Mapping[str, str] | None = None
    precision: str = "float32"
    float_layers: tuple[str, ...] = ()
    rates: CallRates | None = None
    ctc_log_odds: LogOddsShift | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data: dicts, lists, strings, numbers, booleans and None; what is optional and None is left out."""
        content = {**self.__dict__, "panel": self.panel.to_dict(), "labels": self.labels.to_dict()}
        content["normalization"] = asdict(self.normalization)
        content["training_data"] = asdict(self.training_data)
        content["conformal"] = None if self.conformal is None else asdict(self.conformal)
        content["rates"] = None if self.rates is None else self.rates.to_dict()
        content["ctc_log_odds"] = None if self.ctc_log_odds is None else asdict(self.ctc_log_odds)
        content = {
            name: value for name, value in content.items() if name not in OPTIONAL_FIELDS or value != _DEFAULTS[name]
        }
        return json.loads(json.dumps(content))

    def write(self, folder: Path) -> None:
        """Write `card.json` and the `README.md` made from it into an existing folder."""
        (folder / "card.json").write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(self.to_markdown(), encoding="utf-8")

    def to_markdown(self) -> str:
        """The card as a page for people."""
        data = self.training_data
        kind = {True: "simulated cells", False: "real cells", None: "cells of an origin not stated"}[data.simulated]
        rows = [
            ("Intended use", self.intended_use),
            ("Network", self.backbone),
            ("Channels", ", ".join(f"{c.marker} ({c.role})" for c in self.panel.channels)),
            ("Input", f"{self.crop_size_px} x {self.crop_size_px} px at {self.pixel_size_um:g} um per px, raw counts"),
            ("Levels", f"mode '{self.normalization.mode}'"),
            ("Classes", ", ".join(self.labels.classes)),
            ("Unassigned", self._unassigned_text()),
            ("Temperature", f"{self.temperature:.4g}, {self._temperature_text()}"),
            ("Precision", self._precision_text()),
            ("Training data", f"{data.crops} crops of {kind}, {data.groups} groups, sha256 {data.sha256[:16]}..."),
            ("Software", f"ctcnet {self.software_version}"),
            ("Licence", self.licence),
        ]
        if self.ctc_log_odds is not None:
            rows.insert(8, ("Log-odds of P(contains a CTC)", self._shift_text(self.ctc_log_odds)))
        if self.folded:
            told = ", ".join(f"{source} is called {target}" for source, target in self.folded.items())
            rows.insert(6, ("Not told apart", told))
        if self.atypicality_quantile is not None:
            share = 100 * (1 - self.atypicality_quantile)
            rows.insert(7, ("Atypical", f"score above 1, as {share:.2g} % of typical crops have"))
        lines = [f"# {self.name}", "", "For research use only.", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in rows]
        lines += ["", "## Training crops per class", "", "| Class | Crops | Prior |", "|---|---|---|"]
        for name, prior in zip(self.labels.classes, self.training_prior, strict=True):
            lines.append(f"| {name} | {data.crops_per_class.get(name, 0):g} | {prior:.4f} |")
        if self.validation:
            title = "## Validation figures" + (" (simulated cells)" if data.simulated else "")
            lines += ["", title, "", "| Figure | Value |", "|---|---|"]
            lines += [
                f"| {name} | {value:.4g} |" for name, value in self.validation.items() if isinstance(value, int | float)
            ]
        if self.rates is not None:
            lines += self._rates_lines(self.rates)
        if self.limits:
            lines += ["", "## Limits", ""] + [f"- {limit}" for limit in self.limits]
        return "\n".join(lines) + "\n"

    def _rates_lines(self, rates: CallRates) -> list[str]:
        title = f"## Sensitivity and false calls ({rates.cells_text})"
        head = ["", title, "", "| True class | Called a CTC | Events | Rate (exact 95 %) |", "|---|---|---|---|"]
        rows = {"contains a CTC": rates.sensitivity, **rates.true_calls, **rates.false_calls}
        for name, rate in rows.items():
            share, (low, high) = rate.called / rate.events, rate.interval
            head.append(f"| {name} | {rate.called} | {rate.events} | {share:.4g} ({low:.4g} to {high:.4g}) |")
        origin = f"{rates.groups} groups, data sha256 {rates.data_sha256[:16]}..., levels '{rates.levels}'"
        return [*head, "", f"A call is an event that is {rates.decision}. Measured on {rates.cells_text}: {origin}."]

    def _temperature_text(self) -> str:
        if SHIPPED_MODEL in self.training_settings:
            return "fitted on simulated crops of this panel, none of them trained on"
        return "not fitted" if self.temperature == 1 else "fitted on validation data"

    def _shift_text(self, shift: LogOddsShift) -> str:
        pairs = zip(shift.shifts, shift.knots, strict=True)
        return "shifted by " + ", ".join(f"{value:+.2f} at {knot:g}" for value, knot in pairs) + " nats"

    def _precision_text(self) -> str:
        if self.precision == "float32":
            return "float32"
        kept = ", ".join(self.float_layers)
        return f"{self.precision} convolutions; statistics, head and atypicality in float32, and the layers {kept}"

    def _unassigned_text(self) -> str:
        if self.conformal is None:
            atypical = "" if self.atypicality_quantile is None else ", or atypical"
            return f"largest probability below {self.unassigned_below:g}{atypical}"
        alphas = ", ".join(f"{value:g}" for value in self.conformal.alpha)
        pairs = zip(self.labels.classes, self.conformal.thresholds, strict=True)
        thresholds = ", ".join(f"{name} from p = {threshold:.4g}" for name, threshold in pairs)
        return (
            f"the conformal set (alpha {alphas}; {thresholds}) holds neither the most probable class "
            "alone nor that and others that contain a CTC too, or atypical"
        )


OPTIONAL_FIELDS = ("conformal", "atypicality_quantile", "folded", "precision", "float_layers", "rates", "ctc_log_odds")
"""Fields that cards written before there were such do not have, and that are left out where they say nothing new."""
_DEFAULTS: dict[str, Any] = {name: ModelCard.__dataclass_fields__[name].default for name in OPTIONAL_FIELDS}


def hash_group(group: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a group's name."""
    return sha256(group.encode()).hexdigest()[:16]


def fold_matrix(classes: Sequence[str], folded: Mapping[str, str] | None) -> np.ndarray | None:
    """Matrix (K, K) float32 by which probabilities (N, K) are multiplied to move those of folded classes; or None."""
    if not folded:
        return None
    matrix = np.eye(len(classes), dtype=np.float32)
    for source, target in folded.items():
        matrix[classes.index(source)] = matrix[classes.index(target)]
    return matrix


def panel_limits(panel: Panel, labels: LabelSchema) -> tuple[str, ...]:
    """Sentences on what the channels cannot tell apart, for the default classes."""
    needs = {
        "ctc_neutrophil_cluster": ("neutrophil", "neutrophil clusters are told by nuclear shape alone"),
        "ctc_platelet_cluster": ("platelet", "platelet clusters cannot be told from single CTCs"),
        "ctc": ("epithelial", "CTCs are told without an epithelial marker"),
        "leukocyte": ("leukocyte", "leukocytes are told without a leukocyte marker"),
    }
    return tuple(
        f"The panel has no {role} marker: {effect}."
        for name, (role, effect) in needs.items()
        if name in labels.classes and role not in panel.roles
    )
