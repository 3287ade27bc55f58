"""Rates of right and of false calls, measured on crops that the model never saw, as its card states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DECISION = "assigned, and called a class that contains a CTC"
"""What counts as a call: the decision by which a scan counts."""
LEVEL = 0.95
"""Coverage of the intervals."""
LEVELS_SOURCES: tuple[str, ...] = ("cartridge", "model", "per_crop")
"""Where the levels of the crops may have come from, see `ctcnet.runtime.levels.choose_levels`."""


@dataclass(frozen=True)
class CallRate:
    """Calls among labelled events.

    Attributes:
        called: events of which `DECISION` held.
        events: events looked at, 1 or more.
        interval: exact 95 % interval (Clopper and Pearson 1934) of the rate per event, `called / events`.
    """

    called: int
    events: int
    interval: tuple[float, float]

    def __post_init__(self) -> None:
        if type(self.called) is not int or type(self.events) is not int:
            raise TypeError("numbers of calls and events are not whole")
        low, high = self.interval
        if not (0 <= self.called <= self.events >= 1 and 0 <= low <= self.called / self.events <= high <= 1):
            raise ValueError(f"{self.called} calls of {self.events} events within {low} to {high}")


@dataclass(frozen=True)
class CallRates:
    """Sensitivity and false calls of a model for the roll-up 'contains_ctc'.

    Attributes:
        sensitivity: over all events that contain a CTC; at least one was called.
        true_calls: the same by true class that contains a CTC, of those that were looked at.
        false_calls: by true class that contains none; rates are per event of that class.
        simulated: whether the cells were simulated.
        levels: where the levels of their crops came from, one of `LEVELS_SOURCES`.
        groups: patients or other groups that they are of.
        data_sha256: hash of the crops and their labels, see `ctcnet.crops.LabelledCrops.sha256`.
        model_sha256: hash of the model's file as it was evaluated, before it stated these rates.
        software_version: ctcnet that evaluated it.
        decision: `DECISION`.
        interval_level: `LEVEL`.
    """

    sensitivity: CallRate
    true_calls: Mapping[str, CallRate]
    false_calls: Mapping[str, CallRate]
    simulated: bool
    levels: str
    groups: int
    data_sha256: str
    model_sha256: str
    software_version: str
    decision: str = DECISION
    interval_level: float = LEVEL

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise ValueError(problem)

    def _problem(self) -> str:
        """What cannot be, '' where all is well."""
        parts = self.true_calls.values()
        total = sum(part.called for part in parts), sum(part.events for part in parts)
        texts = (self.data_sha256, self.model_sha256, self.software_version)
        checks = (
            (self.sensitivity.called >= 1, "a sensitivity of 0"),
            (total == (self.sensitivity.called, self.sensitivity.events), "a sensitivity that its classes contradict"),
            (bool(self.false_calls), "no false calls"),
            (isinstance(self.simulated, bool), "rates that do not say whether the cells were simulated"),
            (self.levels in LEVELS_SOURCES, f"levels other than {', '.join(LEVELS_SOURCES)}"),
            (type(self.groups) is int and self.groups >= 1, "no number of groups"),
            (all(isinstance(text, str) for text in texts), "hashes or a version that are no text"),
            (self.decision == DECISION, f"rates of another decision than '{DECISION}'"),
            (self.interval_level == LEVEL, f"intervals of another level than {LEVEL}"),
        )
        return next((problem for holds, problem in checks if not holds), "")

    @property
    def cells_text(self) -> str:
        """What the rates were measured on, in words."""
        return "simulated cells" if self.simulated else "real cells"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what `rates_from_dict` takes."""
        return asdict(self)


def rates_from_dict(content: Mapping[str, Any]) -> CallRates:
    """Rates from plain data.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: they are malformed or contradict themselves.
    """
    by_class = {name: {k: _rate(v) for k, v in content[name].items()} for name in ("true_calls", "false_calls")}
    return CallRates(**{**content, "sensitivity": _rate(content["sensitivity"]), **by_class})


def _rate(content: Mapping[str, Any]) -> CallRate:
    low, high = map(float, content["interval"])
    return CallRate(**{**content, "interval": (low, high)})
