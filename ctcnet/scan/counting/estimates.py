"""One count with everything that has to be said beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ctcnet.errors import SettingError
from ctcnet.scan.counting.corrected import (
    Correction,
    corrected_interval,
    corrected_probability_at_least,
    corrected_value,
)
from ctcnet.scan.counting.poisson import LEVEL, poisson_interval, probability_at_least

STANDARD_VOLUME_ML = 7.5
"""Blood that counts are stated for: the tube of the CellSearch trials whose cut-offs are used."""

LEAST_BLOOD_ML, LARGEST_BLOOD_ML = 0.01, 1000.0
"""Blood that a cartridge may be prepared from."""

UNCORRECTED = "uncorrected"


@dataclass(frozen=True)
class CountBasis:
    """What a count refers to.

    Attributes:
        blood_volume_ml: blood that the cartridge was prepared from; None where unknown.
        counted_share: share of the cartridge's area that was counted, 0 to 1; the rest is taken to hold as many
            events per area. At 0 nothing was looked at, and a count says nothing of the blood.
        cut_offs: CTC events per 7.5 mL at which trials decide; per cartridge where the volume is unknown.
        correction: the model's sensitivity and the false calls to be expected among the events counted; None where
            they are not known.
        partial: whether the scan holds but a part of the cartridge, of a share of the blood that nobody knows.
    """

    blood_volume_ml: float | None = None
    counted_share: float = 1.0
    cut_offs: tuple[int, ...] = (3, 5)
    correction: Correction | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        check_blood_volume(self.blood_volume_ml, "blood volume")
        if not 0 <= self.counted_share <= 1:
            raise SettingError(
                "cannot be used", where="share counted", expected="0 to 1", found=f"{self.counted_share}"
            )
        if any(cut_off < 0 for cut_off in self.cut_offs):
            raise SettingError("is negative", where="cut-off", expected="0 or more", found=f"{self.cut_offs}")

    @property
    def per_standard_volume(self) -> float | None:
        """Factor from a count to events per 7.5 mL; None where the volume counted is unknown or nothing was counted."""
        if self.blood_volume_ml is None or self.partial or self.counted_share == 0:
            return None
        return STANDARD_VOLUME_ML / (self.blood_volume_ml * self.counted_share)


def check_blood_volume(volume_ml: float | None, where: str) -> None:
    """Raise SettingError where a volume in mL is no volume of blood; None, where it is not known, passes."""
    if volume_ml is not None and not LEAST_BLOOD_ML <= volume_ml <= LARGEST_BLOOD_ML:  # also true for not-a-number
        raise SettingError(
            "is no volume of blood",
            where=where,
            expected=f"{LEAST_BLOOD_ML:g} to {LARGEST_BLOOD_ML:g} mL",
            found=f"{volume_ml} mL",
        )


def estimate(count: int, basis: CountBasis, *, correct: bool = False) -> dict[str, Any]:
    """A count as a mapping for `counts.json`.

    Args:
        count: events counted.
        basis: what they refer to.
        correct: whether the model's sensitivity and false calls are about these events.

    Returns:
        count: int; interval: exact 95 % Poisson interval [low, high]; per_7_5_ml: {value, interval} or None;
        corrected: {value, interval, per_7_5_ml_value, per_7_5_ml_interval, p_at_least} or 'uncorrected'; p_at_least:
        cut-off (as a text) -> P(mu >= cut-off), None where nothing was counted.
    """
    factor = basis.per_standard_volume
    interval = list(poisson_interval(count, LEVEL))
    means = {str(cut_off): cut_off / (factor or 1.0) for cut_off in basis.cut_offs}
    corrected: dict[str, Any] | str = UNCORRECTED
    if correct and basis.correction is not None and basis.counted_share > 0:
        corrected = _corrected(count, means, basis.correction, factor)
    per_volume = None
    if factor is not None:
        per_volume = {"value": factor * count, "interval": [factor * bound for bound in interval]}
    return {
        "count": int(count),
        "interval": interval,
        "per_7_5_ml": per_volume,
        "corrected": corrected,
        "p_at_least": {
            name: probability_at_least(count, mean) if basis.counted_share > 0 else None for name, mean in means.items()
        },
    }


def _corrected(count: int, means: Mapping[str, float], correction: Correction, factor: float | None) -> dict[str, Any]:
    """The corrected part of an estimate; `means` are the cut-offs as means of what was counted."""
    bounds = list(corrected_interval(count, correction, LEVEL))
    value = corrected_value(count, correction)
    return {
        "value": value,
        "interval": bounds,
        "per_7_5_ml_value": None if factor is None else factor * value,
        "per_7_5_ml_interval": None if factor is None else [factor * bound for bound in bounds],
        "p_at_least": {name: corrected_probability_at_least(count, mean, correction) for name, mean in means.items()},
    }
