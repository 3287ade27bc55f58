"""Platforms: what is known of a scanner beforehand, as data (`configs/platforms/`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ctcnet.errors import SettingError
from ctcnet.resources import find_config
from ctcnet.scan.platform_check import check_platform_values
from ctcnet.settings_file import check_keys, read_yaml_mapping


@dataclass(frozen=True)
class DetectionSettings:
    """Settings of the detector, in um and in multiples of the noise.

    Attributes:
        nucleus_diameter_um: least and largest diameter of a nucleus looked for; the scale space spans them.
        cell_diameter_um: least and largest diameter of an object without a nucleus.
        nucleus_snr: least height of a nucleus over its surroundings, in standard deviations of the noise.
        object_snr: least height of an object without a nucleus, likewise.
        min_distance_um: two peaks nearer than this are one.
        noise_floor_counts: least standard deviation of the noise in counts, for backgrounds clipped to zero.
        downsample: frames are reduced by this factor before peaks are looked for; 0 chooses by the pixel size.
        member_distance_um: nuclei whose cells touch within this distance are members of one event; outlines are drawn
            at half height, about half of this inside each cell's true edge.
    """

    nucleus_diameter_um: tuple[float, float] = (4.0, 16.0)
    cell_diameter_um: tuple[float, float] = (4.0, 24.0)
    nucleus_snr: float = 6.0
    object_snr: float = 8.0
    min_distance_um: float = 3.5
    noise_floor_counts: float = 0.29
    downsample: int = 0
    member_distance_um: float = 2.0


@dataclass(frozen=True)
class RegistrationSettings:
    """Settings of the registration between channels.

    Attributes:
        largest_shift_um: shifts above this are not believed.
        least_correlation: a channel's shift is sure only where the correlation after it is undone reaches this.
    """

    largest_shift_um: float = 25.0
    least_correlation: float = 0.3


@dataclass(frozen=True)
class Platform:
    """A scanner.

    Attributes:
        name: name of the platform.
        layout: name of the reader of its files.
        panel: shipped panel that is taken where the user names none; None where it must be named.
        file_channels: channel names as the scanner writes them, in the order of its files; empty where the files
            state their channels.
        channel_names: the scanner's channel name (dye, filter) -> marker of the panel, where they differ.
        ignorable: the scanner's channels that may be left out without an error where a panel does not list them.
        pixel_size_um: fixed by the optics, else None.
        bit_depth: bits that the camera uses in 16-bit files.
        tiles_per_channel: number of frames of a complete scan; 0 where it varies.
        grid_rows, grid_columns: grid of a complete scan; 0 where it varies.
        serpentine: whether every second row runs backwards.
        overlap_x_px, overlap_y_px: pixels that neighbouring frames share.
        rim_um: width of the band along the outer border that shows the cartridge's edge.
        detection, registration: see there.
        spillover: channel -> channel -> share of the first one's signal that shows in the second; empty is none.
        cut_offs: CTCs per 7.5 mL at which trials decide.
    """

    name: str
    layout: str
    panel: str | None = None
    file_channels: tuple[str, ...] = ()
    channel_names: Mapping[str, str] = field(default_factory=dict)
    ignorable: tuple[str, ...] = ()
    pixel_size_um: float | None = None
    bit_depth: int = 16
    tiles_per_channel: int = 0
    grid_rows: int = 0
    grid_columns: int = 0
    serpentine: bool = False
    overlap_x_px: int = 0
    overlap_y_px: int = 0
    rim_um: float = 0.0
    detection: DetectionSettings = DetectionSettings()
    registration: RegistrationSettings = RegistrationSettings()
    spillover: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cut_offs: tuple[int, ...] = (3, 5)


def platform_from_dict(content: Mapping[str, Any], where: str | Path = "platform") -> Platform:
    """Build a platform from plain data.

    Raises:
        SettingError: keys or values are wrong.
    """
    names = [entry.name for entry in fields(Platform)]
    check_keys(content, required=("name", "layout"), optional=(*names, "description"), where=where)
    values = {name: _plain(content[name]) for name in names if name in content}
    for name, kind in (("detection", DetectionSettings), ("registration", RegistrationSettings)):
        if name in values:
            if not isinstance(values[name], Mapping):
                raise SettingError(f"{name} is no mapping", where=where, found=str(values[name]))
            check_keys(
                values[name], required=(), optional=[entry.name for entry in fields(kind)], where=f"{where}, {name}"
            )
            parts = {key: _plain(value) for key, value in values[name].items()}
            check_platform_values(parts, f"{where}, {name}")
            values[name] = kind(**parts)
    check_platform_values(values, where)
    return Platform(**values)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def load_platform(name: str | Path) -> Platform:
    """Load a platform by the name of a shipped one or the path of a YAML file.

    Raises:
        SettingError: no such platform, or it is malformed.
    """
    path = find_config("platforms", name)
    return platform_from_dict(read_yaml_mapping(path), where=path)
