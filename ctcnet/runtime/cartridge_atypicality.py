"""Atypicality of a cartridge from its leukocytes: are they those of the cartridges that the model knows?

Leukocytes are in every cartridge and hardly differ from patient to patient, so that the mean and the spread of their
embeddings say whether channels were swapped, the pixel size was wrong or a stain failed, none of which one cell need
show. The distance from known cartridges is measured by how much these vary among themselves (`gaussian_distance`).
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ctcnet.errors import ModelFileError, StatisticsError
from ctcnet.labels import LabelSchema
from ctcnet.runtime.gaussian_distance import GaussianFit, divides, fit_covariance, gaussian_distance, signed_log

LEAST_LEUKOCYTES = 200
"""Events that a cartridge is judged by at least."""
LEAST_CARTRIDGES = 30
QUANTILE = 0.99
DIRECTIONS = 24
LEAST_SPREAD = 0.1
"""Of the median over features: one that is 0 in a hundred cartridges says little of what the next may hold."""
LEUKOCYTE = "leukocyte"
_FOLDS = 10


class CartridgeScore(NamedTuple):
    """How unusual a cartridge is.

    Attributes:
        score: above 1 is atypical; NaN where there are too few events.
        events: events that it rests on.
        of_leukocytes: whether these are the events called leukocyte; if too few are, it rests on all events, which are
            leukocytes for the most part whatever the model calls them.
    """

    score: float
    events: int
    of_leukocytes: bool


class CartridgeReference(NamedTuple):
    """What the leukocytes of known cartridges are like.

    Attributes:
        fit: of `cartridge_features`, one class.
        cartridges: number of cartridges behind it.
    """

    fit: GaussianFit
    cartridges: int

    def to_text(self) -> str:
        """All of it as base64, for the metadata of an ONNX file."""
        stream = io.BytesIO()
        np.savez(stream, cartridges=np.array(self.cartridges), **self.fit._asdict())
        return base64.b64encode(stream.getvalue()).decode("ascii")


def reference_from_text(text: str, embedding_width: int | None, where: str | Path) -> CartridgeReference:
    """Read what `CartridgeReference.to_text` wrote.

    Args:
        text: base64.
        embedding_width: D of the model's embeddings; None where it is not known.
        where: file, for the error.

    Raises:
        ModelFileError: it is damaged or belongs to another model.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("compressed arrays")  # a small text can unpack to gigabytes
        with np.load(io.BytesIO(raw), allow_pickle=False) as content:
            fit = GaussianFit(*(content[name].astype(np.float32) for name in GaussianFit._fields))
            reference = CartridgeReference(fit, int(content["cartridges"]))
        width, d = fit.directions.shape
        shapes = ((width,), (width,), (1, width), (width, d), (d,), (), ())
        whole = (
            tuple(value.shape for value in fit) == shapes
            and width % 2 == 0
            and all(np.isfinite(value).all() for value in fit)
            and divides(fit)
        )
    except Exception as cause:  # what numpy, zipfile and tokenize raise on such text shares no base class
        raise _damaged(where, str(cause)) from cause
    if not whole or (embedding_width is not None and width != 2 * embedding_width):
        raise _damaged(where, f"arrays for {width} features")
    return reference


def _damaged(where: str | Path, found: str) -> ModelFileError:
    return ModelFileError(
        "has a reference of cartridges that is damaged or another model's",
        where=where,
        found=found,
        fix="export the model again",
    )


def called_leukocyte(probabilities: np.ndarray, labels: LabelSchema) -> np.ndarray:
    """Events whose most probable class is leukocyte, bool (N,); false throughout where there is no such class.

    Args:
        probabilities: (N, K) float.
        labels: the model's classes.
    """
    if LEUKOCYTE not in labels.classes:
        return np.zeros(len(probabilities), dtype=bool)
    return probabilities.argmax(axis=1) == labels.classes.index(LEUKOCYTE)


def cartridge_features(embedding: np.ndarray, leukocyte: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """Mean and deviation of the embedding over the events called leukocyte, or over all where these are too few.

    Args:
        embedding: (N, D) float, of a sample of a cartridge's events.
        leukocyte: bool (N,), see `called_leukocyte`.

    Returns:
        float64 (2 D,), of `signed_log` of the embedding; number of events; whether they are those called leukocyte.
    """
    enough = bool(leukocyte.sum() >= LEAST_LEUKOCYTES)
    drawn_in = signed_log((embedding[leukocyte] if enough else embedding).astype(np.float64))
    return np.concatenate([drawn_in.mean(axis=0), drawn_in.std(axis=0)]), len(drawn_in), enough


def fit_cartridges(features: Sequence[np.ndarray], quantile: float = QUANTILE) -> CartridgeReference:
    """Fit the reference to known cartridges.

    The limit is a quantile of the distances of cartridges left out of the fit, tenth by tenth: few cartridges lie
    nearer to their own fit than others will. It is that of a log-normal with the distances' median and median absolute
    deviation: the largest of a hundred distances says little, and one odd cartridge would make all others typical.

    Args:
        features: (2 D,) of each cartridge, see `cartridge_features`; all of events called leukocyte.
        quantile: share of known cartridges with a score below 1.

    Raises:
        StatisticsError: too few cartridges.
    """
    count = len(features)
    if count < LEAST_CARTRIDGES:
        raise StatisticsError(
            "too few cartridges for a reference", expected=f"{LEAST_CARTRIDGES} or more", found=str(count)
        )
    known, fold = np.stack(features), np.arange(count) % _FOLDS
    left_out = np.empty(count)
    for k in range(_FOLDS):
        left_out[fold == k] = gaussian_distance(_fit(known[fold != k]), known[fold == k])
    fit = _fit(known)
    return CartridgeReference(fit._replace(limit=np.float32(_robust_quantile(left_out, quantile))), count)


def _robust_quantile(distances: np.ndarray, quantile: float) -> float:
    logs = np.log(distances)
    middle = np.median(logs)
    deviation = np.median(np.abs(logs - middle)) / NormalDist().inv_cdf(0.75)
    return float(np.exp(middle + NormalDist().inv_cdf(quantile) * deviation))


def _fit(features: np.ndarray) -> GaussianFit:
    return fit_covariance(features, np.zeros(len(features), dtype=int), DIRECTIONS, LEAST_SPREAD)


def cartridge_atypicality(
    reference: CartridgeReference, embedding: np.ndarray, leukocyte: np.ndarray
) -> CartridgeScore:
    """Score a cartridge.

    Args:
        reference: see `fit_cartridges`.
        embedding: (N, D) float, of a sample of the cartridge's events drawn without regard to their class.
        leukocyte: bool (N,), see `called_leukocyte`.
    """
    if len(embedding) < LEAST_LEUKOCYTES:
        return CartridgeScore(float("nan"), len(embedding), False)
    features, events, of_leukocytes = cartridge_features(embedding, leukocyte)
    return CartridgeScore(float(gaussian_distance(reference.fit, features[None])[0]), events, of_leukocytes)
