"""Weights of a convolution in 8 bits: scales that no processor overflows with, rounded so that the answers stay."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_OF_ONE = 127
MOST_OF_TWO = 128
"""Two weights of a filter together. Processors without VNNI multiply two pairs of 8 bits and add the products in 16
bits, which 255 x 128 fits, whichever two weights they take; beyond they would saturate and give other answers."""
DAMPING = 0.01
"""Share of the mean variance of the inputs that is added to each, as in GPTQ."""


class InputMoments(NamedTuple):
    """What filters of D weights see in the float32 model and in that of reduced precision, float64.

    Attributes:
        mean, reduced_mean: (D,) of either.
        covariance: (D, D) in the reduced model.
        cross: (D, D) covariance of the inputs in the reduced model with those in the float32 one.
    """

    mean: np.ndarray
    reduced_mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray


class RoundedWeights(NamedTuple):
    """O filters of D weights.

    Attributes:
        weights: (O, D) int8.
        scale: (O,) float32; a weight is its integer times this.
        bias: (O,) float32.
    """

    weights: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


def round_weights(weights: np.ndarray, bias: np.ndarray, inputs: InputMoments | None) -> RoundedWeights:
    """Round filters to integers with one scale each.

    First the weights are fitted to give the float32 model's answers from the reduced model's inputs. What is then lost
    by rounding one weight is made good, as far as it goes, by those that are not rounded yet and at last by the bias
    (GPTQ, Frantar et al. 2023).

    Args:
        weights: (O, D) float.
        bias: (O,) float.
        inputs: what the filters see; None for rounding each weight to the nearest integer.
    """
    weights = weights.astype(np.float64)
    scale, limits = _scales(np.abs(weights))
    if inputs is None:
        rounded = np.clip(np.round(weights / scale[:, None]), -limits, limits)
    else:
        damped = _damped(inputs.covariance)
        fitted = weights + np.linalg.solve(damped, (inputs.cross - inputs.covariance) @ weights.T).T
        rounded = _rounded_in_turn(fitted, scale, limits, damped)
        bias = bias + weights @ inputs.mean - (rounded * scale[:, None]) @ inputs.reduced_mean
    return RoundedWeights(rounded.astype(np.int8), scale.astype(np.float32), bias.astype(np.float32))


def _damped(covariance: np.ndarray) -> np.ndarray:
    size = DAMPING * np.diag(covariance).mean() + np.finfo(np.float32).tiny
    return covariance + size * np.eye(len(covariance))


def _rounded_in_turn(weights: np.ndarray, scale: np.ndarray, limits: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Integers (O, D) of weights, those of the inputs that vary most first; the others take over what is lost."""
    order = np.argsort(-np.diag(covariance), kind="stable")
    spread = np.linalg.cholesky(np.linalg.inv(covariance[np.ix_(order, order)])).T
    left, rounded = weights[:, order], np.empty(weights.shape)
    for place, column in enumerate(order):
        limit = limits[:, column]
        rounded[:, column] = np.clip(np.round(left[:, place] / scale), -limit, limit)
        lost = (left[:, place] - rounded[:, column] * scale) / spread[place, place]
        left[:, place + 1 :] -= lost[:, None] * spread[place, place + 1 :]
    return rounded


def _scales(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finest scale (O,) of filters of weights of these sizes (O, D), and the largest integer (O, D) of each weight."""
    largest = sizes.max(axis=1)
    second = np.sort(sizes, axis=1)[:, -2] if sizes.shape[1] > 1 else np.zeros(len(sizes))
    scale = np.maximum((largest + second) / MOST_OF_TWO, largest / MOST_OF_ONE)
    scale = np.where(scale >= np.finfo(np.float32).tiny, scale, 1.0)  # smaller ones are 0 to many processors
    scale = scale.astype(np.float32).astype(np.float64)
    top = np.clip(np.round(largest / scale), MOST_OF_TWO // 2, MOST_OF_ONE)[:, None]
    limits = np.repeat(MOST_OF_TWO - top, sizes.shape[1], axis=1)
    np.put_along_axis(limits, sizes.argmax(axis=1)[:, None], top, axis=1)
    return scale, limits
