"""Log-odds of one group of classes against all others, and their correction where a temperature leaves them off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LogOddsShift:
    """What is added to stated log-odds, piecewise linear in them.

    Between two knots the shift goes linearly from one value to the next, beyond the first and the last it stays: events
    keep their order where it falls by less than the log-odds rise, and log-odds of any size can still be stated.

    Attributes:
        knots: log-odds in nats, ascending.
        shifts: nats added at each knot.
    """

    knots: tuple[float, ...]
    shifts: tuple[float, ...]

    @property
    def keeps_order(self) -> bool:
        """Whether there are knots, they ascend, and so do the log-odds that they are moved to."""
        knots, shifts = np.asarray(self.knots, dtype=np.float64), np.asarray(self.shifts, dtype=np.float64)
        if knots.ndim != 1 or knots.shape != shifts.shape or len(knots) < 2:
            return False
        finite = np.isfinite(knots).all() and np.isfinite(shifts).all()
        return bool(finite and (np.diff(knots) > 0).all() and (np.diff(knots + shifts) > 0).all())

    def of(self, log_odds: np.ndarray) -> np.ndarray:
        """Shift at log-odds (N,), infinite ones included: (N,) float64."""
        return np.interp(log_odds, self.knots, self.shifts)

    def apply(self, probabilities: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Probabilities whose classes inside hold together what the shifted log-odds say, in unchanged proportions.

        Args:
            probabilities: (N, K), rows add up to 1.
            inside: (K,) bool, the group of classes.

        Returns:
            (N, K) float64, rows add up to 1.
        """
        factor = np.exp(self.of(group_log_odds(probabilities, inside)))
        weighted = np.where(inside, probabilities * factor[:, None], probabilities)
        return weighted / weighted.sum(axis=1, keepdims=True)


def group_log_odds(probabilities: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """log(P / (1 - P)) of the classes inside together, (N,) float64; infinite where either side is 0.

    Both sides are sums of their own, so that 1 - P keeps its digits where P is next to 1.
    """
    p = probabilities.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.log(p[:, inside].sum(axis=1)) - np.log(p[:, ~inside].sum(axis=1))
