"""Calibrations of shipped panels, made with the model and kept beside its weights: nothing is simulated for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from ctcnet.errors import ModelFileError
from ctcnet.log_odds import LogOddsShift
from ctcnet.model_card import ConformalCard
from ctcnet.networks import CellClassifier
from ctcnet.panel import Panel
from ctcnet.pretrained.calibration import Calibration
from ctcnet.runtime.cartridge_atypicality import reference_from_text
from ctcnet.training.shipped_weights import (
    CALIBRATIONS_FILE,
    ShippedModel,
    read_shipped,
    read_tensors,
    specialised_sha256,
    write_card,
)
from ctcnet.uncertainty import atypicality_from_state, num_crop_statistics


def write_calibrations(shipped: ShippedModel, calibrations: Mapping[Panel, Calibration]) -> ShippedModel:
    """Write the calibrations of panels beside the weights and their hash on the card, and read the model back."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for panel, calibration in calibrations.items():
        key = specialised_sha256(shipped.card.weights_sha256, panel)
        text = json.dumps(_numbers(calibration)).encode()
        tensors[f"{key}.numbers"] = torch.from_numpy(np.frombuffer(text, np.uint8).copy())
        state = calibration.atypicality.state_dict()
        tensors |= {f"{key}.atypicality.{name}": value.contiguous() for name, value in state.items()}
    content = save(tensors)
    (shipped.folder / CALIBRATIONS_FILE).write_bytes(content)
    write_card(shipped.folder, replace(shipped.card, calibrations_sha256=sha256(content).hexdigest()))
    return read_shipped(shipped.folder)


def stored_calibration(shipped: ShippedModel, network: CellClassifier, panel: Panel) -> Calibration | None:
    """The calibration of a panel; None where the model holds none for these weights and this panel.

    Args:
        shipped: the model.
        network: of the panel.
        panel: the channels that the network is fed.

    Raises:
        ModelFileError: the file is missing, damaged, or not the one that the card names.
    """
    digest = shipped.card.calibrations_sha256
    if digest is None:
        return None
    path = shipped.folder / CALIBRATIONS_FILE
    prefix = f"{specialised_sha256(shipped.card.weights_sha256, panel)}."
    own = {
        name.removeprefix(prefix): value
        for name, value in read_tensors(path, digest).items()
        if name.startswith(prefix)
    }
    if not own:
        return None
    width = network.head.in_features
    state = {name.removeprefix("atypicality."): value for name, value in own.items() if name != "numbers"}
    try:
        numbers = json.loads(bytes(own["numbers"].numpy()))
        cartridges = numbers.pop("cartridges")
        conformal = ConformalCard(**{name: tuple(values) for name, values in numbers.pop("conformal").items()})
        shift = LogOddsShift(**{name: tuple(values) for name, values in numbers.pop("ctc_log_odds").items()})
        levels = {name: tuple(numbers.pop(name)) for name in ("background", "scale")}
        return Calibration(
            conformal=conformal,
            ctc_log_odds=shift,
            atypicality=atypicality_from_state(state, width, num_crop_statistics(len(panel.channels)), path),
            cartridges=None if cartridges is None else reference_from_text(cartridges, width, path),
            **levels,
            **numbers,
        )
    except (KeyError, TypeError, ValueError) as cause:
        raise ModelFileError(f"is malformed ({cause})", where=path, fix="install ctcnet again") from cause


def _numbers(calibration: Calibration) -> dict[str, object]:
    """What is no tensor, as plain data."""
    names = ("temperature", "background", "scale", "crops")
    cartridges = calibration.cartridges
    return {name: getattr(calibration, name) for name in names} | {
        "ctc_log_odds": vars(calibration.ctc_log_odds),
        "conformal": vars(calibration.conformal),
        "cartridges": None if cartridges is None else cartridges.to_text(),
    }
