"""Values of a platform file, checked when it is read: a wrong one must not be met in the middle of a night's scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ctcnet.errors import SettingError
from ctcnet.panel import BIT_DEPTHS

LARGEST_RIM_UM = 5000.0
LARGEST_SHIFT_UM = 200.0
_MOST = 1_000_000
"""Upper limit of numbers of tiles, rows, columns and pixels: beyond any scanner."""


def check_platform_values(values: Mapping[str, Any], where: str | Path) -> None:
    """Check the values of a platform, lists as tuples; those under `detection` and `spillover` are checked in use.

    Raises:
        SettingError: a value has the wrong type or is impossible.
    """
    for name, value in values.items():
        rule = _RULES.get(name)
        if rule is not None and not rule[0](value):
            raise SettingError(
                f"has an impossible {name}",
                where=where,
                expected=rule[1],
                found=repr(value)[:120],
                fix="mend the platform file",
            )


def _number(value: object, least: float, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return least <= value <= most  # false for not-a-number


def _whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and _number(value, least, _MOST)


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_text, value))


def _names(value: object) -> bool:
    return isinstance(value, Mapping) and all(_text(part) for pair in value.items() for part in pair)


def _cut_offs(value: object) -> bool:
    return isinstance(value, tuple) and all(_whole(part, 1) for part in value) and len(set(value)) == len(value)


_COUNT = (_whole, f"a whole number from 0 to {_MOST}")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_text, "a name"),
    "layout": (_text, "the name of a layout"),
    "panel": (lambda value: value is None or _text(value), "the name of a panel"),
    "file_channels": (_texts, "a list of names; numbers in quotes"),
    "ignorable": (_texts, "a list of names; numbers in quotes"),
    "channel_names": (_names, "NAME: MARKER lines; numbers in quotes"),
    "pixel_size_um": (lambda value: value is None or _number(value, 0.05, 5), "0.05 to 5 um"),
    "bit_depth": (lambda value: _whole(value) and value in BIT_DEPTHS, f"one of {BIT_DEPTHS}"),
    "tiles_per_channel": _COUNT,
    "grid_rows": _COUNT,
    "grid_columns": _COUNT,
    "overlap_x_px": _COUNT,
    "overlap_y_px": _COUNT,
    "serpentine": (lambda value: isinstance(value, bool), "true or false"),
    "rim_um": (lambda value: _number(value, 0, LARGEST_RIM_UM), f"0 to {LARGEST_RIM_UM:g} um"),
    "spillover": (lambda value: isinstance(value, Mapping), "channel: {channel: share} lines"),
    "cut_offs": (_cut_offs, "a list of different whole numbers above 0"),
    "largest_shift_um": (lambda value: _number(value, 0.1, LARGEST_SHIFT_UM), f"0.1 to {LARGEST_SHIFT_UM:g} um"),
    "least_correlation": (lambda value: _number(value, 0, 1), "0 to 1"),
}
