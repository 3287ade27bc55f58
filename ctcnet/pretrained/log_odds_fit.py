"""Shift of the log-odds of P(contains a CTC) that labelled crops ask for beyond a temperature."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ctcnet.log_odds import LogOddsShift

KNOTS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
"""Nats. Further out a few ten thousand crops hold next to no contradiction, so that nothing can be learnt there."""
STIFFNESS = 5.0
"""Twice the log-likelihood that a change of the shift by one nat between two knots costs."""
STEEPEST_FALL = 0.95
"""Of the shift, in nats for each nat of log-odds; below 1, so that events keep their order."""


def fit_log_odds_shift(log_odds: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> LogOddsShift:
    """Shift that makes the truth most likely, kept from bending where little is known.

    Logistic regression on hat functions around `KNOTS`, with the stated log-odds as offset and a penalty on differences
    of neighbouring shifts (Eilers and Marx 1996, degree 1). There is one minimum; without crops it is no shift.

    Args:
        log_odds: (N,) float, as stated, in nats.
        truth: (N,) bool.
        weight: (N,) float, of each crop, 1 on average; by them the crops have the prior that the log-odds refer to.
    """
    hats = np.stack([np.interp(log_odds, KNOTS, row) for row in np.eye(len(KNOTS))], axis=1)
    first_and_changes = np.tril(np.ones((len(KNOTS), len(KNOTS))))
    design = hats @ first_and_changes
    stiffness = np.array([0.0] + [STIFFNESS] * (len(KNOTS) - 1))

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        shifted = log_odds + design @ x
        against = np.where(truth, -shifted, shifted)
        value = weight @ np.logaddexp(0, against) + stiffness @ x**2 / 2
        return float(value), design.T @ (weight * (expit(shifted) - truth)) + stiffness * x

    bounds = [(None, None), *((-STEEPEST_FALL * step, None) for step in np.diff(KNOTS))]
    options = {"ftol": 1e-14, "gtol": 1e-8}
    found = minimize(loss, np.zeros(len(KNOTS)), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return LogOddsShift(KNOTS, tuple((first_and_changes @ found.x).tolist()))
