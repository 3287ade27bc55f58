"""Calibration of a shipped model for one panel: on crops that are simulated for it, of cartridges no training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ctcnet.labels import CONTAINS_CTC
from ctcnet.log_odds import LogOddsShift, group_log_odds
from ctcnet.model_card import ConformalCard, fold_matrix
from ctcnet.networks import CellClassifier
from ctcnet.panel import Panel
from ctcnet.pretrained.log_odds_fit import fit_log_odds_shift
from ctcnet.progress import track
from ctcnet.runtime.cartridge_atypicality import (
    LEAST_LEUKOCYTES,
    CartridgeReference,
    cartridge_features,
    fit_cartridges,
)
from ctcnet.runtime.conformal import fit_conformal
from ctcnet.simulate.composition import CLASSES, IS_CTC, IS_LEUKOCYTE, IS_PLATELET_CLUSTER
from ctcnet.simulate.crop_stream import StreamSettings, draw_imaging, simulate_piece
from ctcnet.simulate.effects import Effects
from ctcnet.training.shipped_weights import ShippedCard
from ctcnet.training.temperature import fit_temperature, prior_weights
from ctcnet.uncertainty import Atypicality, TypicalFeatures, fit_atypicality, typical_features

SEED = 20_261_121
"""Far from the seeds of training streams, which are small numbers."""
CARTRIDGE_SEED = 20_261_120
"""Of the cartridges of `CartridgeReference`; another one than that of `simulated_crops`, to which nothing is fitted."""
CONFORMAL_ALPHA: tuple[float, ...] = (0.1, 0.01, 0.1, 0.1, 0.05)
"""Share of the crops of each of `composition.CLASSES` whose conformal set may lack it. Least for leukocytes, of
which there are thousands for each CTC, and less for debris, of which there are hundreds: a call of a CTC has to exclude
them."""
LONE_CROPS_ALPHA: tuple[float, ...] = (0.1, 0.1, 0.1, 0.1, 0.05)
"""The same in the mode 'per_crop': lone crops were picked out, and do not come with thousands of leukocytes each."""
NETWORK_BATCH = 256
GROUPS, GROUP_CROPS = 2, 40
"""Cartridges of a set, all imaged in one way, and crops of each cartridge. Sets are small, so that many ways of imaging
are seen: on which ones they are is most of what shares of a calibration differ by from those of other crops."""
PLATELET_CLUSTER = CLASSES[IS_PLATELET_CLUSTER]


@dataclass(frozen=True)
class CalibrationSize:
    """How much is simulated.

    Attributes:
        pieces: sets of cartridges, each imaged in its own way.
        fitted_every: temperature, log-odds and the distances of atypicality are fitted on every so manieth set,
            conformal sets and the limit of atypicality on the others.
        cartridges: cartridges of `LEAST_LEUKOCYTES` leukocytes for `CartridgeReference`; 0 for none.
    """

    pieces: int
    fitted_every: int
    cartridges: int


ON_THE_SPOT = CalibrationSize(96, 2, 0)
"""For panels that were not calibrated when the model was made: 10 to 20 s."""
WHEN_MADE = CalibrationSize(1600, 2, 96)
"""For shipped panels: 9,600 crops or more of each class for the conformal sets, whose shares are then known within a
point, and as many for the shift of log-odds, which rests on the few that contradict."""


@dataclass(frozen=True)
class CalibrationCrops:
    """Simulated crops of one panel that no training saw.

    Attributes:
        features: of N crops, see `TypicalFeatures`.
        labels: (N,) int64.
        piece: (N,) int64, set of cartridges of each crop.
        background, scale: (C,) float64, medians over the cartridges, in counts.
    """

    features: TypicalFeatures
    labels: np.ndarray
    piece: np.ndarray
    background: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """What makes a classifier of one panel out of the weights.

    Attributes:
        temperature: logits are divided by it.
        ctc_log_odds: shift of the log-odds of P(contains a CTC).
        conformal: conformal sets.
        atypicality: score of crops.
        background, scale: the model's own levels in counts, one per channel.
        crops: number of crops behind all this.
        cartridges: what the leukocytes of cartridges are like; None where that was not fitted.
    """

    temperature: float
    ctc_log_odds: LogOddsShift
    conformal: ConformalCard
    atypicality: Atypicality
    background: tuple[float, ...]
    scale: tuple[float, ...]
    crops: int
    cartridges: CartridgeReference | None = None


def calibrate(
    card: ShippedCard, network: CellClassifier, panel: Panel, mode: str, size: CalibrationSize | None = None
) -> Calibration:
    """Simulate crops of the panel, always the same, and fit.

    Args:
        card: of the shipped model.
        network: of the panel, in evaluation mode on the CPU.
        panel: the channels that the network is fed.
        mode: 'cartridge' or 'per_crop'.
        size: `ON_THE_SPOT` where None.
    """
    size = ON_THE_SPOT if size is None else size
    crops = calibration_crops(card, network, panel, mode, seed=SEED, pieces=size.pieces)
    fitted = crops.piece % size.fitted_every == 0
    held, features = ~fitted, crops.features
    fold = fold_matrix(card.labels.classes, untold_classes(panel))
    labels = folded_labels(crops.labels, fold)
    prior, inside = np.array(card.class_shares), np.array(card.labels.rollup_mask(CONTAINS_CTC))
    targets = np.eye(len(prior))[crops.labels[fitted]]
    temperature = fit_temperature(features.logits[fitted], np.zeros(len(prior)), targets, prior).value
    probabilities = calibrated(features.logits, temperature, fold)
    log_odds = group_log_odds(probabilities[fitted], inside)
    shift = fit_log_odds_shift(log_odds, inside[labels[fitted]], prior_weights(targets, prior))
    atypicality = fit_atypicality(features.embedding[fitted], features.statistics[fitted], labels[fitted])
    return Calibration(
        temperature,
        shift,
        _conformal(
            shift.apply(probabilities[held], inside),
            labels[held],
            folded_prior(card.class_shares, fold) > 0,
            LONE_CROPS_ALPHA if mode == "per_crop" else CONFORMAL_ALPHA,
        ),
        atypicality.with_quantile(TypicalFeatures(*(column[held] for column in features))),
        tuple(map(float, crops.background)),
        tuple(map(float, crops.scale)),
        len(labels),
        _cartridges(card, network, panel, mode, size.cartridges),
    )


def calibration_crops(
    card: ShippedCard, network: CellClassifier, panel: Panel, mode: str, *, seed: int, pieces: int
) -> CalibrationCrops:
    """Simulate crops as in training, from other seeds, and pass them through the network.

    Args:
        card, network, panel, mode: as in `calibrate`.
        seed: of everything drawn; another one than `SEED` gives crops to test with.
        pieces: sets of cartridges.
    """
    settings = StreamSettings(
        (),
        card.crop_size_px,
        card.pixel_size_um,
        per_crop=mode == "per_crop",
        groups=GROUPS,
        group_crops=GROUP_CROPS,
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
    return CalibrationCrops(joined, np.concatenate(labels), number, background, scale)


def untold_classes(panel: Panel) -> dict[str, str]:
    """Classes that the panel's channels cannot tell, and what they are called: without a platelet marker nothing shows
    that a CTC carries platelets. Neutrophils show by their nuclei.
    """
    return {} if "platelet" in panel.roles else {PLATELET_CLUSTER: CLASSES[IS_CTC]}


def folded_labels(labels: np.ndarray, fold: np.ndarray | None) -> np.ndarray:
    """Classes (N,) int64 with those that cannot be told called what they are folded into."""
    return labels if fold is None else fold.argmax(axis=1)[labels]


def folded_prior(prior: Sequence[float], fold: np.ndarray | None) -> np.ndarray:
    """Class frequencies (K,) float64, 0 for folded classes."""
    return np.array(prior, dtype=np.float64) if fold is None else np.array(prior, dtype=np.float64) @ fold


def _conformal(
    probabilities: np.ndarray, labels: np.ndarray, told: np.ndarray, alpha: tuple[float, ...]
) -> ConformalCard:
    """Conformal sets of the classes that are told; the others, whose probability is 0, are in no set."""
    place = np.cumsum(told) - 1
    fit = fit_conformal(probabilities[:, told], place[labels], [a for a, own in zip(alpha, told, strict=True) if own])
    thresholds, crops = np.ones(len(told)), np.zeros(len(told), int)
    thresholds[told], crops[told] = fit.thresholds, fit.calibration_crops
    return ConformalCard(alpha, tuple(thresholds.tolist()), tuple(crops.tolist()))


def calibrated(logits: np.ndarray, temperature: float, fold: np.ndarray | None = None) -> np.ndarray:
    """Probabilities float64 (N, K) before log-odds are shifted: the numpy twin of `ctcnet.networks.probabilities`."""
    probabilities = softmax(logits.astype(np.float64) / temperature, axis=1)
    return probabilities if fold is None else probabilities @ fold


def _cartridges(
    card: ShippedCard, network: CellClassifier, panel: Panel, mode: str, cartridges: int
) -> CartridgeReference | None:
    """Reference fitted to whole cartridges of leukocytes; None in the mode 'per_crop', which knows none."""
    if not cartridges or mode == "per_crop":
        return None
    features = [
        cartridge_features(embedding, np.ones(len(embedding), bool))[0]
        for embedding in leukocyte_embeddings(card, network, panel, CARTRIDGE_SEED, cartridges)
    ]
    return fit_cartridges(features)


def leukocyte_embeddings(
    card: ShippedCard, network: CellClassifier, panel: Panel, seed: int, cartridges: int
) -> list[np.ndarray]:
    """Embeddings (`LEAST_LEUKOCYTES`, D) of the leukocytes of simulated cartridges, each imaged in its own way."""
    shares = tuple(float(k == IS_LEUKOCYTE) for k in range(len(card.class_shares)))
    settings = StreamSettings(
        (), card.crop_size_px, card.pixel_size_um, groups=1, group_crops=LEAST_LEUKOCYTES, class_shares=shares
    )
    rng = np.random.default_rng(seed)
    found = []
    for _ in track(range(cartridges), f"{card.name}: simulating cartridges of panel '{panel.name}'"):
        imaging = draw_imaging(panel, card.pixel_size_um, rng)
        piece = simulate_piece(panel, settings, imaging, int(rng.integers(2**62)), Effects.all())
        found.append(typical_features(network, (x.float() for x in piece.x.split(NETWORK_BATCH))).embedding)
    return found
