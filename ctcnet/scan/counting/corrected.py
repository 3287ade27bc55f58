"""Counts corrected for what the model misses and what it calls falsely.

The count is k ~ Poisson(s * mu + b): mu is the mean number of CTC events in what was counted of a cartridge, s the
model's sensitivity, b its false calls there. s and b were measured on a limited number of cells and cartridges and are
uncertain themselves: s ~ Beta(found + 1/2, missed + 1/2), b ~ Gamma(calls + 1/2, rate cartridges / share counted), both
from Jeffreys' priors: of a part of a cartridge, that part of its false calls is expected. b is integrated out exactly
(a Gamma mixture of Poisson counts is negative binomial), s on a fixed grid of quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from ctcnet.errors import ModelFileError, StatisticsError
from ctcnet.scan.counting.poisson import LEVEL

_NODES = 512
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True)
class Correction:
    """How well the model finds CTC events, as measured on data that it was not trained on.

    Attributes:
        true_positives: CTC events that it called one, of `positives`; at least one.
        positives: CTC events looked at.
        false_calls: events called a CTC in `cartridges` cartridges without any CTC.
        cartridges: such cartridges looked at, at least one.
    """

    true_positives: int
    positives: int
    false_calls: int
    cartridges: int

    def __post_init__(self) -> None:
        if not 1 <= self.true_positives <= self.positives or self.false_calls < 0 or self.cartridges < 1:
            raise StatisticsError(
                "sensitivity and false calls cannot be used",
                expected="1 <= true_positives <= positives, calls >= 0, cartridges >= 1",
                found=f"{self.true_positives} of {self.positives}, {self.false_calls} in {self.cartridges}",
            )


def correction_from_validation(validation: Mapping[str, Any], where: str | Path = "model card") -> Correction | None:
    """The correction that a model's card allows: None where it states no sensitivity or no false calls.

    Args:
        validation: `ModelCard.validation`; read are `sensitivity: {true_positives, positives}` and
            `false_calls: {calls, cartridges}`, whole numbers, both of events of the roll-up 'contains_ctc'.

    Raises:
        ModelFileError: the figures are there and cannot be used.
    """
    sensitivity, false_calls = validation.get("sensitivity"), validation.get("false_calls")
    if sensitivity is None or false_calls is None:
        return None
    try:
        numbers = [sensitivity[key] for key in ("true_positives", "positives")]
        numbers += [false_calls[key] for key in ("calls", "cartridges")]
        if any(type(number) is not int for number in numbers):
            raise TypeError("a figure is no whole number")
        return Correction(*numbers)
    except (TypeError, KeyError, StatisticsError) as cause:
        raise ModelFileError(
            f"card's sensitivity or false calls cannot be used ({cause})",
            where=where,
            expected="validation: sensitivity {true_positives, positives}, false_calls {calls, cartridges}",
            found=f"{sensitivity}, {false_calls}",
            fix="write the figures measured into the card, or take them out",
        ) from cause


def corrected_interval(
    count: int, correction: Correction, level: float = LEVEL, counted_share: float = 1.0
) -> tuple[float, float]:
    """Interval of the mean mu of CTC events in what was counted of a cartridge.

    The bounds are the means at which a count as large (lower) or as small (upper) has the probability
    (1 - level) / 2, averaged over s and b (Cousins and Highland 1992). The upper bound divides by the probability at
    mu = 0 (Read 2002), so that fewer calls than the false ones expected do not claim an impossible mean. With s = 1
    and b = 0 this is Garwood's interval.

    Args:
        count: events called.
        correction: of the model.
        level: coverage.
        counted_share: share of the cartridge that was counted, above 0 and at most 1.

    Returns:
        Lower and upper bound in events in what was counted; the lower is 0 where false calls alone explain the count.
    """
    tail = (1 - level) / 2
    at_most = _CountDistribution(count, correction, counted_share)
    high = _root(lambda mean: at_most(mean) - tail)
    if count == 0:
        return 0.0, high
    below = _CountDistribution(count - 1, correction, counted_share)
    least = 1 - tail
    if below.at_no_cell <= least:
        return 0.0, high
    return _root(lambda mean: below.at_no_cell * below(mean) - least), high


def corrected_probability_at_least(
    count: int, mean: float, correction: Correction, counted_share: float = 1.0
) -> float:
    """P(mu >= mean) after `count` events, averaged over s and b; prior mu^(-1/2) as in `probability_at_least`.

    mu and `mean` are of what was counted: `counted_share` of the cartridge.

    Both integrals over mu are incomplete gamma functions: for m of the count true, the integrand is
    mu^(-1/2) (s mu)^m exp(-s mu) / m!.
    """
    s = _sensitivities(correction)[:, None]
    false, share = _false_calls(count, correction, counted_share)
    true = (count - false)[None, :]
    log_weight = np.log(share)[None, :] + special.gammaln(true + 0.5) - special.gammaln(true + 1) - 0.5 * np.log(s)
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * special.gammaincc(true + 0.5, s * mean)).sum() / weight.sum())


class _CountDistribution:
    """P(K <= count) as a function of mu, averaged over s and b, over that at mu = 0, which is `at_no_cell`."""

    def __init__(self, count: int, correction: Correction, counted_share: float) -> None:
        self._s = _sensitivities(correction)[:, None]
        false, self._share = _false_calls(count, correction, counted_share)
        self._true = (count - false)[None, :]
        self.at_no_cell = float(stats.nbinom.cdf(count, *_negative_binomial(correction, counted_share)))

    def __call__(self, mean: float) -> float:
        return float((special.pdtr(self._true, self._s * mean) @ self._share).mean())


def _sensitivities(correction: Correction) -> np.ndarray:
    """(nodes,) sensitivities at equally probable quantiles."""
    missed = correction.positives - correction.true_positives
    quantiles = (np.arange(_NODES) + 0.5) / _NODES
    return stats.beta.ppf(quantiles, correction.true_positives + 0.5, missed + 0.5)


def _negative_binomial(correction: Correction, counted_share: float) -> tuple[float, float]:
    """Parameters n and p of the number of false calls in a share of one cartridge, as scipy names them."""
    rate = correction.cartridges / counted_share
    return correction.false_calls + 0.5, rate / (rate + 1)


def _false_calls(count: int, correction: Correction, counted_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of false calls up to `count` that are not negligible, and their shares, which add up to 1.

    In logarithms, because every one of them is improbable where far more false calls are expected than were counted.
    """
    n, p = _negative_binomial(correction, counted_share)
    false = np.arange(min(count, int(stats.nbinom.isf(_NEGLIGIBLE, n, p))) + 1)
    log_share = special.gammaln(false + n) - special.gammaln(false + 1) + false * np.log1p(-p)
    share = np.exp(log_share - log_share.max())
    kept = share > _NEGLIGIBLE
    return false[kept], share[kept] / share[kept].sum()


def _root(function: Callable[[float], float]) -> float:
    """Mean at which a falling function is 0."""
    high = 1.0
    while function(high) > 0:
        high *= 2
    return float(optimize.root_scalar(function, bracket=(0.0, high), method="brentq", xtol=1e-9).root)
