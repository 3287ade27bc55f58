"""Predictions for many crops: batch by batch, each with the levels of its cartridge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from ctcnet.errors import ModelPanelError, SettingError
from ctcnet.model_card import ModelCard
from ctcnet.normalization import per_crop_levels
from ctcnet.panel import Panel, select_channels
from ctcnet.runtime.levels import choose_levels
from ctcnet.runtime.onnx_predictor import OnnxPredictor
from ctcnet.runtime.predictions import Predictions, Predictor, concatenate
from ctcnet.runtime.side_by_side import in_order


class ReadableCrops(Protocol):
    """What `classify_crops` needs of a set of N crops; `ctcnet.crops.LabelledCrops` offers it."""

    @property
    def panel(self) -> Panel: ...
    @property
    def path(self) -> np.ndarray: ...
    @property
    def background(self) -> np.ndarray: ...
    @property
    def scale(self) -> np.ndarray: ...
    def read(self, rows: np.ndarray, pixel_size_um: float | None, crop_size_px: int) -> np.ndarray: ...


def predict_crops(
    predictor: Predictor,
    read: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    background: np.ndarray,
    scale: np.ndarray,
    *,
    levels: str = "auto",
    batch_size: int | None = None,
    keep_embedding: bool = True,
    progress: str | None = None,
) -> tuple[Predictions, np.ndarray]:
    """Predict crops in batches that share their levels.

    As many batches are answered side by side as the predictor's `calls_at_once` says, while the next is read; pixels
    are held of these alone. How many there are changes no answer.

    Args:
        predictor: the model.
        read: gives the crops (n, C, S, S) of some of `rows`, channels and scale as on the model's card.
        rows: (N,) integers that `read` understands.
        background, scale: (N, C), counts, one line per entry of `rows`, channels as on the card; NaN where not stated.
        levels: 'auto', 'model' or 'per_crop', see `ctcnet.runtime.levels.choose_levels`.
        batch_size: largest number of crops at once; None takes the predictor's.
        keep_embedding: whether the embeddings (N, D) are kept; without, D is 0.
        progress: words beside a progress bar; None shows none.

    Returns:
        Predictions in the order of `rows`; object (N,) that names the levels used: 'cartridge', 'model', 'per_crop'.
    """
    batch_size = predictor.batch_size if batch_size is None else batch_size
    if batch_size < 1:
        raise SettingError("batch size is below 1", found=str(batch_size))
    mode = predictor.card.normalization.mode
    names = choose_levels(mode, levels, background, scale)
    stated = np.concatenate([background, scale], axis=1).astype(np.float32)
    stated[names != "cartridge"] = np.nan
    batches = list(_batches_of_equal_levels(stated, batch_size))
    alone = levels == "per_crop" and mode != "per_crop"
    channels = background.shape[1]

    def answer(task: tuple[np.ndarray, np.ndarray]) -> Predictions:
        crops, levels = task
        if alone:
            found = _predict_each_by_itself(predictor, crops)
        else:
            found = predictor.predict(crops, levels[:channels], levels[channels:])
        return found if keep_embedding else found._replace(embedding=found.embedding[:, :0].copy())

    tasks = ((read(rows[batch]), stated[batch[0]]) for batch in batches)
    answers = in_order(answer, tasks, predictor.calls_at_once)
    parts = list(answers if progress is None else _track(answers, progress, len(batches)))
    if not parts:
        return _no_predictions(predictor.card), names
    order = np.argsort(np.concatenate(batches), kind="stable")
    return Predictions(*(column[order] for column in concatenate(parts))), names


def classify_crops(
    predictor: Predictor,
    crops: ReadableCrops,
    *,
    levels: str = "auto",
    batch_size: int | None = None,
    keep_embedding: bool = False,
    progress: str | None = None,
) -> tuple[Predictions, np.ndarray]:
    """Predict every crop of a set, its channels matched to the model's by name; arguments as in `predict_crops`.

    Raises:
        ModelPanelError: the set's channels are not the model's, or its counts are of another bit depth and not all of
            its rows state the levels of their cartridge.
        SettingError: a crop is float32 and the model takes whole numbers.
    """
    card = predictor.card
    takes_integers = isinstance(predictor, OnnxPredictor) and predictor.input_dtype == np.uint16
    channels = match_channels(crops.panel, card)
    background, scale = crops.background[:, channels], crops.scale[:, channels]

    def read(rows: np.ndarray) -> np.ndarray:
        pixels = crops.read(rows, card.pixel_size_um, card.crop_size_px)
        if takes_integers and pixels.dtype == np.float32:
            _refuse_float_crops(crops, rows, card)
        return pixels if channels == list(range(pixels.shape[1])) else pixels[:, channels]

    rows = np.arange(len(background))
    if crops.panel.bit_depth != card.panel.bit_depth:
        _refuse_another_bit_depth(crops.panel, card, levels, background, scale)
    return predict_crops(
        predictor,
        read,
        rows,
        background,
        scale,
        levels=levels,
        batch_size=batch_size,
        keep_embedding=keep_embedding,
        progress=progress,
    )


def match_channels(panel: Panel, card: ModelCard) -> list[int]:
    """Index in the data's panel of each channel of the model, by name; channels of role 'none' are passed over.

    Raises:
        ModelPanelError: a channel is missing, is not known to the model, or has another role there.
    """
    where = f"model '{card.name}' and panel '{panel.name}'"
    fed = [index for index, channel in enumerate(panel.channels) if channel.role != "none"]
    chosen = [fed[i] for i in select_channels([panel.markers[i] for i in fed], card.panel.markers, where)]
    for index, channel in zip(chosen, card.panel.channels, strict=True):
        if panel.roles[index] != channel.role:
            raise ModelPanelError(
                f"channel '{channel.marker}' plays another role",
                where=where,
                expected=channel.role,
                found=panel.roles[index],
                fix="give the panel that the images were stained with, or use a model trained for it",
            )
    return chosen


def _refuse_another_bit_depth(
    panel: Panel, card: ModelCard, levels: str, background: np.ndarray, scale: np.ndarray
) -> None:
    if (choose_levels(card.normalization.mode, levels, background, scale) != "cartridge").any():
        raise ModelPanelError(
            "counts of another bit depth need the background and scale of their cartridge",
            where=f"model '{card.name}' and panel '{panel.name}'",
            expected=f"{card.panel.bit_depth} bit",
            found=f"{panel.bit_depth} bit",
            fix="correct the panel's bit depth, or state background_<channel> and scale_<channel> in the manifest",
        )


def _refuse_float_crops(crops: ReadableCrops, rows: np.ndarray, card: ModelCard) -> None:
    """Raise SettingError that names the first of `rows` that is float32; read together with others it makes all so."""
    read = (crops.read(np.array([row]), card.pixel_size_um, card.crop_size_px) for row in rows)
    float_rows = [row for row, pixels in zip(rows, read, strict=True) if pixels.dtype == np.float32]
    raise SettingError(
        "is float32 and the model takes uint16 counts",
        where=str(crops.path[float_rows[0]]),
        expected="whole numbers (uint8, uint16)",
        found=f"float32 in {len(float_rows)} of {len(rows)} crops read together",
        fix="export the model with --input-dtype float32, or give counts as whole numbers in uint16",
    )


def _batches_of_equal_levels(stated: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Positions of lines with equal levels, at most `batch_size` at once; NaN equals NaN."""
    if not len(stated):
        return
    _, group = np.unique(np.where(np.isnan(stated), np.float32(-np.inf), stated), axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        for start in range(0, len(members), batch_size):
            yield members[start : start + batch_size]


def _predict_each_by_itself(predictor: Predictor, crops: np.ndarray) -> Predictions:
    """Answers under each crop's own levels, by a model of another mode: its card's `shared_scale` says nothing then."""
    card = predictor.card
    background, scale = per_crop_levels(crops, card.normalization.floor, card.panel.rgb_order is not None)
    return concatenate([predictor.predict(crops[i : i + 1], background[i], scale[i]) for i in range(len(crops))])


def _no_predictions(card: ModelCard) -> Predictions:
    empty = np.zeros(0, dtype=np.float32)
    classes = len(card.labels.classes)
    return Predictions(empty.reshape(0, classes), empty.astype(bool), empty, empty.reshape(0, 0))


def _track(answers: Iterator[Predictions], description: str, total: int) -> Iterator[Predictions]:
    from ctcnet.progress import track

    return track(answers, description, total)
