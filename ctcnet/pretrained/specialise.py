"""A shipped model made into a classifier of one panel: its weights chosen by role, its answers calibrated."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from scipy.special import softmax

import ctcnet
from ctcnet.errors import ModelPanelError
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard, panel_limits
from ctcnet.networks import CellClassifier, build_classifier
from ctcnet.normalization import scale_floor
from ctcnet.panel import Panel
from ctcnet.pretrained.universal_network import SECOND_ROLES
from ctcnet.progress import track
from ctcnet.runtime.conformal import fit_conformal
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import StreamSettings, draw_imaging, simulate_piece
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.random_panels import TUMOUR_ROLES
from ctcnet.training.shipped_weights import ShippedModel
from ctcnet.training.starting_weights import specialised_state
from ctcnet.training.temperature import Temperature, fit_temperature
from ctcnet.training.torch_predictor import TorchPredictor
from ctcnet.uncertainty import QUANTILE, TypicalFeatures, fit_atypicality, typical_features

CALIBRATION_SEED = 20_261_121
"""Far from the seeds of training streams, which are small numbers."""
CALIBRATION_PIECES, CALIBRATION_GROUPS, CALIBRATION_GROUP_CROPS = 24, 8, 40
"""Sets of cartridges that are simulated, each imaged in its own way, their cartridges, and the crops of each.
Temperature and the distances of atypicality are fitted on every second set, conformal sets and the limit of atypicality
on the others."""
CONFORMAL_ALPHA: tuple[float, ...] = (0.1, 0.01, 0.1, 0.1, 0.1)
"""Share of the crops of each of `composition.CLASSES` whose conformal set may lack it. Least for leukocytes, of
which there are thousands for each CTC: a call of a CTC has to exclude them."""
NETWORK_BATCH = 256
UNASSIGNED_BELOW = 0.5


@dataclass(frozen=True)
class CalibrationCrops:
    """Simulated crops of one panel that no training saw.

    Attributes:
        features: of N crops, see `TypicalFeatures`.
        labels: (N,) int64.
        first_half: (N,) bool, crops for temperature and atypicality.
        background, scale: (C,) float64, medians over the cartridges, in counts.
    """

    features: TypicalFeatures
    labels: np.ndarray
    first_half: np.ndarray
    background: np.ndarray
    scale: np.ndarray


def specialise(shipped: ShippedModel, panel: Panel, device: str | torch.device = "cpu") -> TorchPredictor:
    """Classifier of one panel.

    Levels, temperature, conformal sets and atypicality are fitted to crops of the panel that are simulated here, always
    the same.

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
    crops = calibration_crops(shipped, network, panel, mode)
    fitted, held = crops.first_half, ~crops.first_half
    features, labels = crops.features, crops.labels
    temperature = _temperature(features.logits[fitted], labels[fitted], shipped.card.class_shares)
    atypicality = fit_atypicality(features.embedding[fitted], features.statistics[fitted], labels[fitted])
    atypicality = atypicality.with_quantile(TypicalFeatures(*(column[held] for column in features)))
    probabilities = softmax(features.logits[held].astype(np.float64) / temperature.value, axis=1)
    conformal = fit_conformal(probabilities, labels[held], CONFORMAL_ALPHA)
    card = replace(_card(shipped, panel, mode, crops, temperature), conformal=conformal, atypicality_quantile=QUANTILE)
    return TorchPredictor(network, card, device, atypicality=atypicality)


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
    network = build_classifier(shipped.card.backbone, panel.roles, len(shipped.card.labels.classes))
    network.load_state_dict(specialised_state(shipped.weights[mode], network, f"model '{shipped.card.name}'"))
    return network.eval()


def calibration_crops(
    shipped: ShippedModel,
    network: CellClassifier,
    panel: Panel,
    mode: str,
    *,
    seed: int = CALIBRATION_SEED,
    pieces: int | None = None,
) -> CalibrationCrops:
    """Simulate crops as in training, from other seeds, and pass them through the network.

    Args:
        shipped: the model.
        network: of the panel.
        panel, mode: as `check_panel` and `mode_for` gave them.
        seed: of everything drawn; another one than `CALIBRATION_SEED` gives crops to test with.
        pieces: sets of cartridges; `CALIBRATION_PIECES` where None.
    """
    pieces = CALIBRATION_PIECES if pieces is None else pieces
    card = shipped.card
    settings = StreamSettings(
        (),
        card.crop_size_px,
        card.pixel_size_um,
        per_crop=mode == "per_crop",
        groups=CALIBRATION_GROUPS,
        group_crops=CALIBRATION_GROUP_CROPS,
    )
    rng = np.random.default_rng(seed)
    features, labels, levels = [], [], []
    for _ in track(range(pieces), f"{card.name}: simulating crops of panel '{panel.name}'"):
        imaging = draw_imaging(panel, card.pixel_size_um, rng)
        piece = simulate_piece(panel, settings, imaging, int(rng.integers(2**62)), Effects.all())
        features.append(typical_features(network, (x.float() for x in piece.x.split(NETWORK_BATCH))))
        labels.append(piece.labels.numpy())
        levels.append((piece.background, piece.scale))
    background, scale = (np.median(np.concatenate(column), axis=0) for column in zip(*levels, strict=True))
    number = np.repeat(np.arange(pieces), [len(part) for part in labels])
    joined = TypicalFeatures(*(np.concatenate(column) for column in zip(*features, strict=True)))
    return CalibrationCrops(joined, np.concatenate(labels), number % 2 == 0, background, scale)


def _temperature(logits: np.ndarray, labels: np.ndarray, prior: tuple[float, ...]) -> Temperature:
    return fit_temperature(logits, np.zeros(len(prior)), np.eye(len(prior))[labels], np.array(prior))


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


def _card(
    shipped: ShippedModel, panel: Panel, mode: str, crops: CalibrationCrops, temperature: Temperature
) -> ModelCard:
    card = shipped.card
    own = mode == "cartridge"
    counts = np.bincount(crops.labels, minlength=len(CLASSES))
    training = dict(card.training)
    total = float(training.get("crops", 0))
    return ModelCard(
        name=card.name,
        backbone=card.backbone,
        panel=panel,
        labels=card.labels,
        pixel_size_um=card.pixel_size_um,
        crop_size_px=card.crop_size_px,
        normalization=NormalizationCard(
            mode,
            tuple(map(float, crops.background)) if own else None,
            tuple(map(float, crops.scale)) if own else None,
            scale_floor(panel.full_scale),
        ),
        temperature=temperature.value,
        training_prior=card.class_shares,
        unassigned_below=UNASSIGNED_BELOW,
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
        training_settings={"shipped_model": card.name, "calibration_crops": int(counts.sum()), **training},
        validation={},
        limits=panel_limits(panel, card.labels)
        + _limits_of_roles(panel.roles)
        + ("Trained and calibrated on simulated cells alone.",)
        + (() if temperature.note is None else (temperature.note,)),
    )
