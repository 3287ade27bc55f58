"""What a count of rare events says about the mean it was drawn from."""

from __future__ import annotations

import numpy as np
from scipy import special

from ctcnet.errors import StatisticsError

LEVEL = 0.95
"""Coverage of the intervals."""


def poisson_interval(count: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of the mean of a Poisson count (Garwood 1936): both tails hold at most (1 - level) / 2.

    Args:
        count: events counted, 0 or more.
        level: coverage, between 0 and 1.

    Returns:
        Lower and upper bound, in events; the lower is 0 for no events.

    Raises:
        StatisticsError: the count is negative or no whole number, or the level is not between 0 and 1.
    """
    _check_count(count)
    if not 0 < level < 1:
        raise StatisticsError("has no interval at this level", where="count", expected="0 to 1", found=str(level))
    tail = (1 - level) / 2
    low = float(special.gammaincinv(count, tail)) if count else 0.0
    return low, float(special.gammainccinv(count + 1, tail))


def proportion_interval(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934); (0, 1) where nothing was looked at.

    Raises:
        StatisticsError: `count` is not between 0 and `total`.
    """
    _check_count(count)
    if count > total:
        raise StatisticsError("share has more events than its whole", expected=f"at most {total}", found=str(count))
    tail = (1 - level) / 2
    low = float(special.betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(special.betainccinv(count + 1, total - count, tail)) if count < total else 1.0
    return low, high


def probability_at_least(count: int, mean: float) -> float:
    """P(mu >= mean) after `count` events, for the patient's mean mu per cartridge.

    The posterior under Jeffreys' prior mu^(-1/2), with every cell found and no false call, is a Gamma distribution of
    shape count + 1/2 and rate 1.

    Args:
        count: events counted.
        mean: cut-off in events per cartridge, 0 or more; need not be whole.

    Raises:
        StatisticsError: the count or the cut-off is negative.
    """
    _check_count(count)
    if not mean >= 0:
        raise StatisticsError("cut-off is no mean", where="count", expected="0 or more", found=str(mean))
    return float(special.gammaincc(count + 0.5, mean))


def _check_count(count: int) -> None:
    if not isinstance(count, int | np.integer) or count < 0:
        raise StatisticsError("is no count", where="count", expected="a whole number, 0 or more", found=str(count))
