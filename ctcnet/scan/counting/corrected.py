"""Counts corrected for what the model misses and what it calls falsely.

The count is k ~ Poisson(s * mu + b): mu is the mean number of CTC events in what was counted of a cartridge, s the
model's sensitivity, b the false calls expected there: over the classes without a CTC, the rate of false calls per event
of the class times the events of that class that were counted. s and the rates were measured on a limited number of
events and are uncertain themselves: s ~ Beta(found + 1/2, missed + 1/2), and each rate ~ Gamma(calls + 1/2, rate
parameter events), from Jeffreys' priors. The rates are integrated out exactly (a Gamma mixture of Poisson counts is
negative binomial; those of the classes are added by convolution), s on a fixed grid of quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from ctcnet.call_rates import CallRates
from ctcnet.errors import StatisticsError
from ctcnet.scan.counting.poisson import LEVEL

_NODES = 512
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True)
class FalseCalls:
    """False calls to be expected among the events of one class that contains no CTC.

    Attributes:
        calls: events of this class that were falsely called, where that was measured.
        events: events of this class looked at there, 1 or more.
        counted: events of this class in what was counted of the cartridge.
    """

    calls: int
    events: int
    counted: int

    @property
    def mean(self) -> float:
        """Mean number of false calls to be expected, over what is not known of their rate."""
        return (self.calls + 0.5) / self.events * self.counted


@dataclass(frozen=True)
class Correction:
    """How well the model finds CTC events, as measured on crops that it was not trained on.

    Attributes:
        true_positives: CTC events that it called one, of `positives`; at least one.
        positives: CTC events looked at.
        false_calls: of each class that contains no CTC.
    """

    true_positives: int
    positives: int
    false_calls: tuple[FalseCalls, ...]

    def __post_init__(self) -> None:
        possible = all(part.calls >= 0 and part.events >= 1 and part.counted >= 0 for part in self.false_calls)
        if not 1 <= self.true_positives <= self.positives or not possible:
            raise StatisticsError(
                "sensitivity and false calls cannot be used",
                expected="1 <= true_positives <= positives, calls >= 0, events >= 1, counted >= 0",
                found=f"{self.true_positives} of {self.positives}, {self.false_calls}",
            )

    @property
    def expected_sensitivity(self) -> float:
        """Mean of s over what is not known of it."""
        return (self.true_positives + 0.5) / (self.positives + 1)

    @property
    def expected_false_calls(self) -> float:
        """Mean of b over what is not known of the rates."""
        return sum(part.mean for part in self.false_calls)


def correction_of(rates: CallRates, counted: Mapping[str, int]) -> Correction:
    """The correction of a cartridge's count by the rates on a model's card.

    Args:
        rates: as measured.
        counted: class without a CTC -> its events in what was counted; one entry for each class of `false_calls`.
    """
    false = (FalseCalls(rate.called, rate.events, counted[name]) for name, rate in rates.false_calls.items())
    return Correction(rates.sensitivity.called, rates.sensitivity.events, tuple(false))


def corrected_value(count: int, correction: Correction) -> float:
    """Estimate of the mean mu by its moments, (k - E[b]) / E[s], and 0 where more false calls are expected than k.

    Args:
        count: events called.
        correction: of the model, for what was counted.

    Returns:
        CTC events in what was counted; lies within `corrected_interval`.
    """
    return max(0.0, (count - correction.expected_false_calls) / correction.expected_sensitivity)


def corrected_interval(count: int, correction: Correction, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the mean mu of CTC events in what was counted of a cartridge.

    The bounds are the means at which a count as large (lower) or as small (upper) has the probability
    (1 - level) / 2, averaged over s and b (Cousins and Highland 1992). The upper bound divides by the probability at
    mu = 0 (Read 2002), so that fewer calls than the false ones expected do not claim an impossible mean. With s = 1
    and b = 0 this is Garwood's interval.

    Args:
        count: events called.
        correction: of the model, for what was counted.
        level: coverage.

    Returns:
        Lower and upper bound in events in what was counted; the lower is 0 where false calls alone explain the count.
    """
    tail = (1 - level) / 2
    at_most = _CountDistribution(count, correction)
    high = _root(lambda mean: at_most(mean) - tail)
    if count == 0:
        return 0.0, high
    below = _CountDistribution(count - 1, correction)
    least = 1 - tail
    if below.at_no_cell <= least:
        return 0.0, high
    return _root(lambda mean: below.at_no_cell * below(mean) - least), high


def corrected_probability_at_least(count: int, mean: float, correction: Correction) -> float:
    """P(mu >= mean) after `count` events, averaged over s and b; prior mu^(-1/2) as in `probability_at_least`.

    mu and `mean` are of what was counted.

    Both integrals over mu are incomplete gamma functions: for m of the count true, the integrand is
    mu^(-1/2) (s mu)^m exp(-s mu) / m!.
    """
    s = _sensitivities(correction)[:, None]
    false, share, _ = _false_calls(count, correction)
    true = (count - false)[None, :]
    log_weight = np.log(share)[None, :] + special.gammaln(true + 0.5) - special.gammaln(true + 1) - 0.5 * np.log(s)
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * special.gammaincc(true + 0.5, s * mean)).sum() / weight.sum())


def probability_of_so_few(count: int, correction: Correction) -> float:
    """P(K <= count) where there is no CTC event at all: small where the rates do not hold for the cartridge."""
    return _false_calls(count, correction)[2]


class _CountDistribution:
    """P(K <= count) as a function of mu, averaged over s and b, over that at mu = 0, which is `at_no_cell`."""

    def __init__(self, count: int, correction: Correction) -> None:
        self._s = _sensitivities(correction)[:, None]
        false, self._share, self.at_no_cell = _false_calls(count, correction)
        self._true = (count - false)[None, :]

    def __call__(self, mean: float) -> float:
        return float((special.pdtr(self._true, self._s * mean) @ self._share).mean())


def _sensitivities(correction: Correction) -> np.ndarray:
    """(nodes,) sensitivities at equally probable quantiles."""
    missed = correction.positives - correction.true_positives
    quantiles = (np.arange(_NODES) + 0.5) / _NODES
    return special.betaincinv(correction.true_positives + 0.5, missed + 0.5, quantiles)


def _false_calls(count: int, correction: Correction) -> tuple[np.ndarray, np.ndarray, float]:
    """Numbers of false calls up to `count` that are not negligible, their shares, which add up to 1, and the
    probability that there are at most `count`.

    In logarithms, because every one of them is improbable where far more false calls are expected than were counted.
    """
    share, log_scale = np.ones(1), 0.0
    for part in correction.false_calls:
        if part.counted:
            log_probability = _log_false_calls(count, part)
            largest = log_probability.max()
            share = np.convolve(share, np.exp(log_probability - largest))[: count + 1]
            log_scale += largest + np.log(share.max())
            share /= share.max()
    total = share.sum()
    kept = np.flatnonzero(share > _NEGLIGIBLE)
    return kept, share[kept] / share[kept].sum(), min(1.0, float(np.exp(log_scale + np.log(total))))


def _log_false_calls(count: int, part: FalseCalls) -> np.ndarray:
    """Logarithm of the probability of 0, 1, ... false calls in one class, up to `count`, without a negligible tail."""
    most = 63
    while most < count and (most < part.mean or _log_negative_binomial(np.array(most), part) > np.log(_NEGLIGIBLE)):
        most = 2 * most + 1
    return _log_negative_binomial(np.arange(min(most, count) + 1), part)


def _log_negative_binomial(number: np.ndarray, part: FalseCalls) -> np.ndarray:
    """Logarithm of the probability of numbers of false calls: a Gamma mixture of Poisson counts."""
    n, rate = part.calls + 0.5, part.events / part.counted
    log_choices = special.gammaln(number + n) - special.gammaln(n) - special.gammaln(number + 1)
    return log_choices - n * np.log1p(1 / rate) - number * np.log1p(rate)


def _root(function: Callable[[float], float]) -> float:
    """Mean at which a falling function is 0."""
    from scipy import optimize  # a third of a second of every scan's start, needed only where rates are known

    high = 1.0
    while function(high) > 0:
        high *= 2
    return float(optimize.root_scalar(function, bracket=(0.0, high), method="brentq", xtol=1e-9).root)
