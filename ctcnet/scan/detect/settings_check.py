"""Settings of the detector, checked before the first frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ctcnet.errors import SettingError
from ctcnet.scan.platform import DetectionSettings

_POSITIVE = ("nucleus_snr", "object_snr", "min_distance_um", "noise_floor_counts")


def check_detection(settings: DetectionSettings, roles: Sequence[str], pixel_size_um: float) -> None:
    """Refuse settings that the detector cannot work with.

    Raises:
        SettingError: no channel of role nucleus or more than one, a pixel size, range or limit that makes no sense.
    """
    if list(roles).count("nucleus") != 1:
        raise SettingError(
            "events cannot be detected without exactly one channel of role 'nucleus'",
            where="panel",
            expected="one channel of role nucleus",
            found=", ".join(roles) or "no channel",
            fix="give the DNA stain the role nucleus in the panel, any further one the role none",
        )
    if not _is_number(pixel_size_um) or not 0.05 <= pixel_size_um <= 2.5:
        raise SettingError(
            "events cannot be detected at this pixel size",
            where="pixel_size_um",
            expected="0.05 to 2.5 um",
            found=str(pixel_size_um),
            fix="state the pixel size in um with --pixel-size-um",
        )
    check_detection_values(settings)


def check_detection_values(settings: DetectionSettings) -> None:
    """Refuse values that the detector cannot work with on any cartridge.

    Raises:
        SettingError: a range or limit that makes no sense.
    """
    for name in ("nucleus_diameter_um", "cell_diameter_um"):
        _check_range(name, getattr(settings, name))
    for name in _POSITIVE:
        _check_number(name, getattr(settings, name), above=0.0)
    _check_number("member_distance_um", settings.member_distance_um, above=-1e-9)
    if not isinstance(settings.downsample, int) or not 0 <= settings.downsample <= 16:
        raise _wrong("downsample", "a whole number, 0 to 16; 0 chooses by the pixel size", settings.downsample)


def _check_range(name: str, value: object) -> None:
    expected = "least and largest diameter in um, 1 to 100, the least first"
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(map(_is_number, value)):
        raise _wrong(name, expected, value)
    if not 1 <= value[0] < value[1] <= 100:
        raise _wrong(name, expected, value)


def _check_number(name: str, value: object, above: float) -> None:
    if not _is_number(value) or not float(value) > above:  # pyright: ignore[reportArgumentType]
        raise _wrong(name, "a number above 0" if above >= 0 else "a number of at least 0", value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(name: str, expected: str, found: object) -> SettingError:
    return SettingError(
        "has a value that the detector cannot work with",
        where=f"detection, {name}",
        expected=expected,
        found=str(found),
        fix="mend the platform file",
    )
