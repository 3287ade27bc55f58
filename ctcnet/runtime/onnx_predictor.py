"""A classifier in an ONNX file, run by onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ctcnet.errors import ModelFileError, ModelPanelError, SettingError
from ctcnet.model_card import ModelCard
from ctcnet.model_card_reading import card_from_dict
from ctcnet.runtime.cartridge_atypicality import CartridgeReference, reference_from_text
from ctcnet.runtime.predictions import Predictions, batch_size_on, check_probabilities
from ctcnet.runtime.session import ModelSession, SessionSettings

CARD_PROPERTY = "ctcnet_card"
"""Metadata property of the ONNX file that holds the model card as JSON."""

CARTRIDGE_PROPERTY = "ctcnet_cartridges"
"""Metadata property with the reference of cartridges, see `CartridgeReference.to_text`; not every file has one."""

INPUTS = ("crops", "background", "scale")
OUTPUTS = ("probabilities", "unassigned", "atypicality", "embedding")

_TYPES = dict.fromkeys((*INPUTS[1:], *OUTPUTS), "tensor(float)") | {"unassigned": "tensor(bool)"}
"""Type of each input and output but the crops, in the words of onnxruntime."""

_DTYPES = {"tensor(uint16)": np.dtype(np.uint16), "tensor(float)": np.dtype(np.float32)}


class OnnxPredictor:
    """Classifier of crops, see `ctcnet.runtime.predictions.Predictor`.

    Args:
        path: ONNX file written by `ctcnet export`.
        settings: how to run it.
        expected_sha256: hash that the file must have; None takes that of the signature file beside it, where there is
            one.

    Attributes:
        card: the model's card.
        properties: the file's metadata.
        input_dtype: uint16 or float32, the type of crops that the graph takes.
        cartridge_reference: what the leukocytes of cartridges are like; None where the file holds none.
        batch_size: crops at once that suit the provider.
        calls_at_once: as in the settings.

    Raises:
        ModelFileError: no such file, one that is no ONNX model, is not allowed (see `ctcnet.runtime.model_file`), was
            changed or has no card, or the provider is not to be had.
        PanelError, LabelError: its card names channels or classes that cannot be.
    """

    def __init__(
        self, path: str | Path, settings: SessionSettings | None = None, *, expected_sha256: str | None = None
    ) -> None:
        self._path = path
        settings = settings or SessionSettings()
        self.batch_size, self.calls_at_once = batch_size_on(settings.provider), settings.calls_at_once
        self._session = ModelSession(path, settings, expected_sha256)
        self.properties = self._session.properties
        self.card: ModelCard = read_card(self.properties, path)
        self.input_dtype = _check_graph(self._session, path)
        channels, side = len(self.card.panel.channels), self.card.crop_size_px
        sizes = {
            "crops": (channels, side, side),
            "probabilities": (len(self.card.labels.classes),),
            "unassigned": (),
            "atypicality": (),
            "embedding": (None,),
        }
        check_sizes(self._session, sizes, path)
        check_types(self._session, _TYPES, path)
        self.cartridge_reference = _read_reference(self._session, path)

    def predict(
        self, crops: np.ndarray, background: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> Predictions:
        """Classify crops that share their levels.

        Args:
            crops: (N, C, S, S), uint8, uint16 or float32 counts, channels and size as on the card; N may be 0.
            background, scale: float32 (C,), counts; None or NaN stands for the model's own.

        Raises:
            ModelPanelError: the number of channels is not the model's.
            SettingError: another shape or type, or levels that cannot be.
            DeadlineError: the call took longer than the settings allow.
            ModelFileError: the answers to pixels that are numbers are none, or not one for each crop.
        """
        self._check_shape(crops)
        feed = {
            "crops": self._cast(crops),
            "background": check_level(background, "background", crops.shape[1]),
            "scale": check_level(scale, "scale", crops.shape[1]),
        }
        answers = Predictions(*self._session.run(OUTPUTS, feed))
        if any(len(column) != len(crops) for column in answers):
            raise ModelFileError(
                "does not answer once for each crop",
                where=self._path,
                expected=f"{len(crops)} rows",
                found=", ".join(str(len(column)) for column in answers),
                fix="export the model again",
            )
        check_probabilities(answers.probabilities, crops, self._path)
        return answers

    def _check_shape(self, crops: np.ndarray) -> None:
        channels, side = len(self.card.panel.channels), self.card.crop_size_px
        expected = f"(N, {channels}, {side}, {side})"
        if crops.ndim == 4 and crops.shape[1] != channels:
            raise ModelPanelError(
                "crops do not have the model's channels",
                expected=f"{expected}: {', '.join(self.card.panel.markers)}",
                found=str(crops.shape),
            )
        if crops.ndim != 4 or crops.shape[2:] != (side, side):
            raise SettingError("crops do not have the model's shape", expected=expected, found=str(crops.shape))

    def _cast(self, crops: np.ndarray) -> np.ndarray:
        if crops.dtype not in (np.uint8, np.uint16, np.float32):
            raise SettingError("crops have another type", expected="uint8, uint16, float32", found=str(crops.dtype))
        if self.input_dtype == np.uint16 and crops.dtype == np.float32:
            raise SettingError(
                "crops are float32 and the model takes uint16 counts",
                fix="export the model with --input-dtype float32, or give counts as whole numbers in uint16",
            )
        return np.ascontiguousarray(crops, dtype=self.input_dtype)


def check_level(level: np.ndarray | None, name: str, channels: int) -> np.ndarray:
    """Level as float32 (C,); NaN throughout where `level` is None.

    Raises:
        SettingError: not one number per channel, an infinite one, or a scale that is not above 0.
    """
    if level is None:
        return np.full(channels, np.nan, dtype=np.float32)
    values = np.asarray(level, dtype=np.float32)
    if values.shape != (channels,):
        raise SettingError(f"{name} is not one number per channel", expected=f"({channels},)", found=str(values.shape))
    if np.isinf(values).any() or (name == "scale" and (values <= 0).any()):
        raise SettingError(f"{name} holds a number that cannot be", expected="finite, scale above 0", found=str(values))
    return values


def read_card(properties: Mapping[str, str], path: str | Path) -> ModelCard:
    """The card in a file's metadata.

    Raises:
        ModelFileError: there is none, or it is malformed.
        PanelError, LabelError: it names channels or classes that cannot be.
    """
    text = properties.get(CARD_PROPERTY)
    if text is None:
        raise ModelFileError(
            "has no model card",
            where=path,
            expected=f"the metadata property '{CARD_PROPERTY}'",
            fix="use a file written by ctcnet export",
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise ModelFileError("has a card that is no JSON", where=path, fix="export the model again") from cause
    if not isinstance(content, dict):
        raise ModelFileError("has a card that is no mapping", where=path, fix="export the model again")
    return card_from_dict(content, where=path)


def _read_reference(session: ModelSession, path: str | Path) -> CartridgeReference | None:
    text = session.properties.get(CARTRIDGE_PROPERTY)
    if text is None:
        return None
    width = next(node.shape[1] for node in session.outputs if node.name == "embedding")
    return reference_from_text(text, width if isinstance(width, int) else None, path)


def _check_graph(session: ModelSession, path: str | Path) -> np.dtype:
    inputs = {node.name: node for node in session.inputs}
    outputs = [node.name for node in session.outputs]
    if tuple(inputs) != INPUTS or set(outputs) != set(OUTPUTS) or inputs["crops"].type not in _DTYPES:
        raise ModelFileError(
            "has other inputs or outputs",
            where=path,
            expected=f"inputs {', '.join(INPUTS)}; outputs {', '.join(OUTPUTS)}",
            found=f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}",
            fix="use a file for crops: one written by ctcnet export without --frame",
        )
    return _DTYPES[inputs["crops"].type]


def check_types(session: ModelSession, wanted: Mapping[str, str], path: str | Path) -> None:
    """Check the types of the graph's inputs and outputs, by which programs in other languages read their memory.

    Raises:
        ModelFileError: one has another type.
    """
    for node in (*session.inputs, *session.outputs):
        if node.name in wanted and node.type != wanted[node.name]:
            raise ModelFileError(
                f"has another type of '{node.name}'",
                where=path,
                expected=wanted[node.name],
                found=node.type,
                fix="use a file that ctcnet export wrote, as it wrote it",
            )


def check_sizes(session: ModelSession, wanted: Mapping[str, tuple[int | None, ...]], path: str | Path) -> None:
    """Check that the graph's inputs and outputs have the sizes that the card calls for.

    Args:
        session: the graph.
        wanted: by name, sizes after the first axis; None for any.
        path: file that the error names.

    Raises:
        ModelFileError: another number of axes, or another size where the graph fixes it.
    """
    nodes = {node.name: node for node in (*session.inputs, *session.outputs)}
    for name, sizes in wanted.items():
        found = nodes[name].shape
        pairs = zip(found[1:], sizes, strict=False)
        if len(found) != 1 + len(sizes) or any(isinstance(f, int) and w not in (None, f) for f, w in pairs):
            raise ModelFileError(
                f"has a card that does not fit its graph: size of '{name}' after the first axis",
                where=path,
                expected=f"{sizes}, by the card",
                found=f"{tuple(found)} with it, in the graph",
                fix="export the model again",
            )
