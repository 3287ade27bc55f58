"""A model brought to a cartridge: its channels by name, its levels, its answers for crops cut on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ctcnet.errors import ModelPanelError
from ctcnet.model_card import ModelCard
from ctcnet.panel import Panel
from ctcnet.runtime.conformal import ctc_classes
from ctcnet.runtime.predictions import Predictions, Predictor
from ctcnet.scan.pipeline.crop_answers import CropAnswers, join, rows_within


@runtime_checkable
class DevicePredictor(Protocol):
    """A predictor that also takes crops that already lie on its device."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...

    def predict_tensor(self, crops: Tensor, background: np.ndarray | None, scale: np.ndarray | None) -> Predictions:
        """As `Predictor.predict`, for counts (N, C, S, S) on any device."""
        ...


def model_channels(panel: Panel, card: ModelCard) -> list[int]:
    """Index in the cartridge's panel of each channel of the model, by name; others are measured, not fed to it.

    Raises:
        ModelPanelError: a channel of the model is missing, or has another role in the cartridge's panel.
    """
    where = f"model '{card.name}' and panel '{panel.name}'"
    folded = [marker.casefold() for marker in panel.markers]
    missing = [marker for marker in card.panel.markers if marker.casefold() not in folded]
    if missing:
        raise ModelPanelError(
            f"the cartridge lacks channels that the model needs: {', '.join(missing)}",
            where=where,
            expected=", ".join(card.panel.markers),
            found=", ".join(panel.markers),
            fix="use a model trained for these channels, or name the panel that was stained with --panel",
        )
    chosen = [folded.index(marker.casefold()) for marker in card.panel.markers]
    for index, channel in zip(chosen, card.panel.channels, strict=True):
        if panel.roles[index] != channel.role:
            raise ModelPanelError(
                f"channel '{channel.marker}' plays another role",
                where=where,
                expected=f"{channel.role}, as in the model",
                found=f"{panel.roles[index]}, in the cartridge's panel",
                fix="name the panel that was stained with --panel, or use a model trained for it",
            )
    return chosen


class CropClassifier:
    """Answers for crops of one cartridge.

    Args:
        predictor: the model.
        background, scale: (C,) float32 of the model's channels, counts; None for the model's own or per-crop levels.

    Attributes:
        keeps_embeddings: whether embeddings of a sample are worth keeping: only where the model can judge a cartridge
            by them.
        ctc_mask: (K,) bool, the classes that contain a CTC; none where the labels do not say.
    """

    def __init__(self, predictor: Predictor, background: np.ndarray | None, scale: np.ndarray | None) -> None:
        self._predictor, self._background, self._scale = predictor, background, scale
        self.keeps_embeddings = predictor.cartridge_reference is not None
        self.ctc_mask = ctc_classes(predictor.card.labels)
        self._batch_size = predictor.batch_size

    def classify(self, crops: Sequence[Tensor], sampled: np.ndarray) -> CropAnswers:
        """Classify crops of several frames, one frame after the other.

        Args:
            crops: (N, C, S, S) whole counts each, in the model's order; N may be 0.
            sampled: (M,) ascending rows, counted over all frames, whose embeddings are kept.
        """
        pieces = [piece for frame in crops for piece in frame.split(self._batch_size) if len(piece)]
        answers, start = [], 0
        for batch in _batches(pieces, self._batch_size):
            found, stop = self._predict(batch), start + len(batch)
            kept = found.embedding[rows_within(sampled, start, stop)]  # a copy: the others are let go
            answers.append(CropAnswers(found.probabilities, found.unassigned, found.atypicality, kept))
            start = stop
        return join(answers) if answers else self.nothing()

    def nothing(self) -> CropAnswers:
        """Answers for no crops."""
        empty = np.zeros(0, dtype=np.float32)
        classes = len(self._predictor.card.labels.classes)
        return CropAnswers(empty.reshape(0, classes), empty.astype(bool), empty, empty.reshape(0, 0))

    def _predict(self, crops: Tensor) -> Predictions:
        if isinstance(self._predictor, DevicePredictor):
            return self._predictor.predict_tensor(crops, self._background, self._scale)
        return self._predictor.predict(crops.cpu().numpy().astype(np.uint16, copy=False), self._background, self._scale)


def _batches(pieces: list[Tensor], size: int) -> Iterator[Tensor]:
    """Batches of `size` and a last one that is shorter, across the pieces, of which none is longer than that."""
    waiting: list[Tensor] = []
    room = size
    for piece in pieces:
        waiting.append(piece[:room])
        if len(piece) < room:
            room -= len(piece)
            continue
        yield torch.cat(waiting)
        waiting = [piece[room:]]
        room = size - len(waiting[0])
    if any(len(piece) for piece in waiting):
        yield torch.cat(waiting)
