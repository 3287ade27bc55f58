"""A shipped model made into a classifier of one panel: its weights chosen by role, its answers calibrated."""

from __future__ import annotations

import json
from hashlib import sha256

import torch

import ctcnet
from ctcnet.errors import ModelPanelError
from ctcnet.model_card import SHIPPED_MODEL, ModelCard, NormalizationCard, TrainingDataCard, fold_matrix, panel_limits
from ctcnet.networks import CellClassifier
from ctcnet.normalization import scale_floor
from ctcnet.panel import Panel
from ctcnet.pretrained.calibration import Calibration, calibrate, folded_prior, untold_classes
from ctcnet.pretrained.stored_calibrations import stored_calibration
from ctcnet.pretrained.universal_network import SECOND_ROLES, network_of_panel
from ctcnet.simulate.random_panels import TUMOUR_ROLES
from ctcnet.training.shipped_weights import ShippedModel
from ctcnet.training.torch_predictor import TorchPredictor
from ctcnet.uncertainty import QUANTILE

UNASSIGNED_BELOW = 0.5


def specialise(shipped: ShippedModel, panel: Panel, device: str | torch.device = "cpu") -> TorchPredictor:
    """Classifier of one panel.

    Levels, temperature, log-odds, conformal sets and atypicality come with the model for the panels that are shipped,
    and are fitted to crops that are simulated here, always the same, for any other.

    Args:
        shipped: the model.
        panel: channels in the order of the crops; channels of role 'none' are left out.
        device: where it is to run.

    Raises:
        ModelPanelError: the panel has no nucleus channel.
    """
    panel = check_panel(panel, shipped.card.name)
    mode = mode_for(panel)
    network = panel_network(shipped, panel, mode)
    calibration = stored_calibration(shipped, network, panel)
    if calibration is None:
        calibration = calibrate(shipped.card, network, panel, mode)
    return TorchPredictor(
        network,
        _card(shipped, panel, mode, calibration),
        device,
        atypicality=calibration.atypicality,
        cartridge_reference=calibration.cartridges,
    )


def mode_for(panel: Panel) -> str:
    """Display merges have no cartridge levels: each crop is normalised by itself."""
    return "cartridge" if panel.rgb_order is None else "per_crop"


def check_panel(panel: Panel, name: str) -> Panel:
    """The channels that the model is fed.

    Raises:
        ModelPanelError: there is no nucleus among them.
    """
    fed = panel.network_panel()
    if "nucleus" not in fed.roles:
        raise ModelPanelError(
            "cannot be served: the role nucleus is missing, and every class would be lost, for all rest on it",
            where=f"model '{name}' and panel '{panel.name}'",
            expected="a channel of role nucleus",
            found=", ".join(f"{c.marker} ({c.role})" for c in fed.channels),
            fix="name the channel that shows DNA in the panel, or train a model of your own",
        )
    return fed


def panel_network(shipped: ShippedModel, panel: Panel, mode: str) -> CellClassifier:
    """Network of the panel with the model's weights, in evaluation mode on the CPU."""
    card, weights = shipped.card, shipped.weights_for(mode, panel.roles)
    return network_of_panel(card.backbone, weights, panel.roles, len(card.labels.classes), f"model '{card.name}'")


def _limits_of_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Sentences on channels that the universal network cannot use as they are."""
    limits = []
    if not set(roles) & set(TUMOUR_ROLES):
        limits.append("The panel has no tumour marker: a CTC is told by its size and nucleus, which is hardly enough.")
    for role in sorted(set(roles)):
        known = 2 if role in SECOND_ROLES else 1
        if roles.count(role) > known:
            limits.append(f"The panel has {roles.count(role)} channels of role {role}; the model was taught {known}.")
    return tuple(limits)


def _card(shipped: ShippedModel, panel: Panel, mode: str, calibration: Calibration) -> ModelCard:
    card = shipped.card
    own = mode == "cartridge"
    training = dict(card.training)
    total = float(training.get("crops", 0))
    folded = untold_classes(panel)
    fold = fold_matrix(card.labels.classes, folded)
    return ModelCard(
        name=card.name,
        backbone=card.backbone,
        panel=panel,
        labels=card.labels,
        pixel_size_um=card.pixel_size_um,
        crop_size_px=card.crop_size_px,
        normalization=NormalizationCard(
            mode,
            calibration.background if own else None,
            calibration.scale if own else None,
            scale_floor(panel.full_scale),
            shared_scale=panel.rgb_order is not None,
        ),
        temperature=calibration.temperature,
        ctc_log_odds=calibration.ctc_log_odds,
        training_prior=tuple(folded_prior(card.class_shares, fold).tolist()),
        folded=folded or None,
        unassigned_below=UNASSIGNED_BELOW,
        conformal=calibration.conformal,
        atypicality_quantile=QUANTILE,
        training_data=TrainingDataCard(
            sha256=sha256(json.dumps(training, sort_keys=True).encode()).hexdigest(),  # the stream has no file
            simulated=True,
            crops=int(total),
            groups=int(training.get("groups", 0)),
            crops_per_class={
                name: round(total * share) for name, share in zip(card.labels.classes, card.class_shares, strict=True)
            },
            group_hashes=(),
        ),
        software_version=ctcnet.__version__,
        training_settings={SHIPPED_MODEL: card.name, "calibration_crops": calibration.crops, **training},
        validation={},
        limits=panel_limits(panel, card.labels)
        + _limits_of_roles(panel.roles)
        + ("Trained and calibrated on simulated cells alone.",),
    )
