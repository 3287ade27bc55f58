"""A trained classifier in torch, with the answers that its ONNX file gives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ctcnet.errors import ModelPanelError
from ctcnet.model_card import ModelCard
from ctcnet.networks import CellClassifier
from ctcnet.networks.levels import InputLevels
from ctcnet.networks.probabilities import Probabilities
from ctcnet.normalization import normalize
from ctcnet.runtime.cartridge_atypicality import CartridgeReference
from ctcnet.runtime.conformal import judge_unassigned
from ctcnet.runtime.predictions import Predictions, batch_size_on, check_probabilities
from ctcnet.uncertainty import Atypicality


class TorchPredictor:
    """Classifies raw crops: levels, normalisation, network, temperature, softmax.

    Args:
        network: classifier in evaluation mode; the softmax of its logits refers to the prior on the card.
        card: what the model says about itself.
        device: where to run.
        atypicality: score of crops; None where there is none, and the answers hold NaN.
        cartridge_reference: what the leukocytes of cartridges are like; None where that was not fitted.

    Attributes:
        network, card, device, atypicality, cartridge_reference: as given.
        batch_size: crops at once that suit the device.
        calls_at_once: 1; torch's own threads share a call.
    """

    calls_at_once = 1

    def __init__(
        self,
        network: CellClassifier,
        card: ModelCard,
        device: str | torch.device = "cpu",
        *,
        atypicality: Atypicality | None = None,
        cartridge_reference: CartridgeReference | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.batch_size = batch_size_on(self.device.type)
        self.network = network.to(self.device).eval()
        self.card = card
        self.atypicality = None if atypicality is None else atypicality.to(self.device).eval()
        self.cartridge_reference = cartridge_reference
        self._probabilities = Probabilities(card).to(self.device)
        self._per_crop = InputLevels(card.normalization.floor, card.normalization.shared_scale)

    def predict(
        self, crops: np.ndarray, background: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> Predictions:
        """Classify crops.

        Args:
            crops: (N, C, S, S), uint16 or float32, raw counts, channels and size as on the card.
            background: float32 (C,) or (N, C), counts without stain; None or NaN stands for the model's own.
            scale: float32 (C,) or (N, C), counts above background that stand for 1; None or NaN as above.

        Raises:
            ModelPanelError: wrong number of channels or wrong size.
            ModelFileError: the answers to pixels that are numbers are none.
            torch.OutOfMemoryError: the GPU has not enough memory for so many crops.
        """
        return self.predict_tensor(torch.from_numpy(np.ascontiguousarray(crops)), background, scale)

    def predict_tensor(
        self, crops: Tensor, background: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> Predictions:
        """As `predict`, for crops that are a tensor on any device."""
        card = self.card
        expected = (len(card.panel.channels), card.crop_size_px, card.crop_size_px)
        if crops.ndim != 4 or tuple(crops.shape[1:]) != expected:
            raise ModelPanelError(
                "crops do not fit the model",
                expected=f"(N, {', '.join(map(str, expected))})",
                found=str(tuple(crops.shape)),
                fix=f"give the channels {', '.join(card.panel.markers)} at the model's scale and size",
            )
        with torch.inference_mode():
            counts = crops.to(self.device).float()
            normalised = normalize(counts, *self._levels(counts, background, scale))
            logits, embedding = self.network(normalised)
            embedding = embedding.float()
            probabilities = self._probabilities(logits).cpu().numpy()
            atypicality = self._atypicality(normalised, embedding).cpu().numpy()
        if not np.isfinite(probabilities).all():  # crops may be on another device
            check_probabilities(probabilities, crops.numpy(force=True), card.name)
        unassigned = judge_unassigned(probabilities, atypicality, card)
        return Predictions(probabilities, unassigned, atypicality, embedding.cpu().numpy())

    def _atypicality(self, normalised: Tensor, embedding: Tensor) -> Tensor:
        """float32 (N,), NaN where the model has no such score."""
        if self.atypicality is None:
            return embedding.new_full((len(embedding),), torch.nan)
        return self.atypicality(normalised, embedding)

    def _levels(self, counts: Tensor, background: np.ndarray | None, scale: np.ndarray | None) -> tuple[Tensor, Tensor]:
        own = self.card.normalization
        if own.background is None or own.scale is None:
            own_background, own_scale = self._per_crop(counts)
        else:
            own_background, own_scale = counts.new_tensor(own.background), counts.new_tensor(own.scale)
        return self._stated_or(background, own_background), self._stated_or(scale, own_scale)

    def _stated_or(self, stated: np.ndarray | None, own: Tensor) -> Tensor:
        if stated is None:
            return own
        given = torch.from_numpy(np.asarray(stated, dtype=np.float32)).to(self.device)
        return torch.where(torch.isnan(given), own, given)
