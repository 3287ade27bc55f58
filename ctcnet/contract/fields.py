"""Metadata properties of an exported file, listed once: written by export, checked by `ctcnet verify`, documented."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ctcnet.model_card import ModelCard
from ctcnet.runtime.onnx_predictor import CARD_PROPERTY, CARTRIDGE_PROPERTY

CONTRACT_VERSION = 1
"""Raised when a field goes or changes its meaning; new fields leave it as it is."""
LEAST_ONNXRUNTIME = "1.17"
"""Oldest onnxruntime that files of this version are compared in."""


@dataclass(frozen=True)
class Field:
    """One metadata property; all are text in the file.

    Attributes:
        name: key of the property.
        kind: how to read the text: 'text', 'list' (joined by commas), 'integer', 'number', 'sha256' or 'JSON'.
        meaning: one sentence.
        of_card: the text that the model card gives; None for what the card does not know.
        optional: whether a file may lack it.
    """

    name: str
    kind: str
    meaning: str
    of_card: Callable[[ModelCard], str] | None = None
    optional: bool = False


def _thresholds(card: ModelCard) -> str:
    thresholds: dict[str, float | tuple[float, ...]] = {"unassigned_below": card.unassigned_below}
    if card.conformal is not None:
        thresholds |= {"conformal_alpha": card.conformal.alpha, "conformal": card.conformal.thresholds}
    return json.dumps(thresholds)


def _normalization(card: ModelCard) -> str:
    levels = card.normalization
    shared = {"shared_scale": True} if levels.shared_scale else {}
    return json.dumps({"mode": levels.mode, "background": levels.background, "scale": levels.scale} | shared)


_FILE_FIELDS = (
    Field("contract", "integer", f"version of this table: {CONTRACT_VERSION}"),
    Field("graph", "text", "kind of graph, which says what its inputs and outputs are: `crop` or `frame`"),
    Field("input_dtype", "text", "type of the pixels that the graph takes: `uint16` or `float32`"),
    Field("opset", "integer", "opset of ai.onnx, the only one imported"),
    Field("ir_version", "integer", "version of the ONNX file format"),
    Field("least_onnxruntime", "text", "oldest onnxruntime that runs the file"),
    Field("made_with", "JSON", "programs that made the file: a list of `name`, `version`, `licence`"),
)

_CARD_FIELDS = (
    Field(
        CARD_PROPERTY,
        "JSON",
        "the whole model card; its `rates`, where it has them, are the sensitivity and false calls measured, see below",
        lambda card: json.dumps(card.to_dict()),
    ),
    Field("name", "text", "name of the model", lambda card: card.name),
    Field(
        "precision",
        "text",
        "precision of the convolutions: `float32`, `int8` or `fp16`",
        lambda card: card.precision,
        optional=True,
    ),
    Field(
        "float_layers",
        "list",
        "convolutions that stayed in float32, or `all`",
        lambda card: ",".join(card.float_layers) or "all",
        optional=True,
    ),
    Field("panel", "list", "markers in the order of the channels", lambda card: ",".join(card.panel.markers)),
    Field("roles", "list", "their roles, in the same order", lambda card: ",".join(card.panel.roles)),
    Field("bit_depth", "integer", "bits of the camera's counts", lambda card: str(card.panel.bit_depth)),
    Field("pixel_size_um", "number", "micrometres per pixel of the crops", lambda card: repr(card.pixel_size_um)),
    Field("crop_size_px", "integer", "side of the square crops in pixels", lambda card: str(card.crop_size_px)),
    Field("classes", "list", "classes in the order of `probabilities`", lambda card: ",".join(card.labels.classes)),
    Field("temperature", "number", "the logits are divided by it, in the graph", lambda card: repr(card.temperature)),
    Field(
        "ctc_log_odds",
        "JSON",
        "`shifts` in nats, added in the graph at `knots` to the log-odds of the classes that contain a CTC together, "
        "linear between knots and constant beyond them; null for none",
        lambda card: json.dumps(card.to_dict().get("ctc_log_odds")),
        optional=True,
    ),
    Field(
        "thresholds",
        "JSON",
        "what decides `unassigned`: `conformal`, one threshold per class, with its `conformal_alpha`; without them "
        "`unassigned_below`; an atypicality above 1 does either way",
        _thresholds,
    ),
    Field(
        "folded",
        "JSON",
        "classes that the panel cannot tell, and what each is called instead: its own probability is 0",
        lambda card: json.dumps(dict(card.folded or {})),
    ),
    Field(
        "training_prior",
        "JSON",
        "frequency of each class that the probabilities refer to",
        lambda card: json.dumps(card.training_prior),
    ),
    Field(
        "normalization",
        "JSON",
        "`mode`, and the model's own `background` and `scale` in counts, one per channel, used where NaN is given; "
        "null in the mode per_crop, with `shared_scale` where the channels of a crop share one scale",
        _normalization,
    ),
    Field(
        "guard_band",
        "number",
        "decisions may differ between runtimes where two probabilities, a probability and its threshold or atypicality "
        "and 1 are closer than this",
        lambda card: repr(card.guard_band),
    ),
    Field(
        "training_data_sha256",
        "sha256",
        "hash of the crops and labels that the model was trained on",
        lambda card: card.training_data.sha256,
    ),
    Field("software_version", "text", "ctcnet that trained the model", lambda card: card.software_version),
    Field("intended_use", "text", "research use only, in words", lambda card: card.intended_use),
    Field("licence", "text", "licence of the model", lambda card: card.licence),
)

_CROP_FIELDS = (
    Field("golden_sample", "JSON", "crops, levels and the answers to them, see below"),
    Field(
        CARTRIDGE_PROPERTY,
        "text",
        "what the leukocytes of cartridges are like: base64 of a NumPy archive",
        optional=True,
    ),
)

_FRAME_FIELDS = (
    Field("frame_pixel_size_um", "number", "micrometres per pixel of the frames"),
    Field("max_events", "integer", "usual value of the input `max_events`"),
    Field("kinds", "list", "names of the values of `kind`, from 0 on"),
    Field("level_sources", "list", "names of the values of `background_source` and `scale_source`, from 0 on"),
    Field("detection", "JSON", "settings of the detector: sizes in um, limits in multiples of the noise"),
    Field("platform", "text", "scanner whose settings and spillover are in the graph"),
    Field("golden_frame", "JSON", "a small frame, levels and the events in it, see below"),
)

FIELDS: Mapping[str, tuple[Field, ...]] = {
    "crop": (*_FILE_FIELDS, *_CARD_FIELDS, *_CROP_FIELDS),
    "frame": (*_FILE_FIELDS, *_CARD_FIELDS, *_FRAME_FIELDS),
}
"""Fields of a file by its kind of graph."""


def card_properties(card: ModelCard, graph: str) -> dict[str, str]:
    """The properties that repeat the card, for programs that do not read JSON."""
    return {field.name: field.of_card(card) for field in FIELDS[graph] if field.of_card is not None}


def fields_table(graph: str) -> str:
    """The fields as a Markdown table."""
    rows = [
        f"| `{field.name}` | {field.kind} | {field.meaning}{', where the file has it' if field.optional else ''} |"
        for field in FIELDS[graph]
    ]
    return "\n".join(("| Property | Read as | Meaning |", "|---|---|---|", *rows)) + "\n"
