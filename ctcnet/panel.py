"""Panels: the markers of an image in channel order, each with the role it plays in telling cells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ctcnet.errors import ModelPanelError, PanelError
from ctcnet.resources import find_config
from ctcnet.settings_file import check_keys, read_yaml_mapping

ROLES: tuple[str, ...] = (
    "nucleus",
    "epithelial",
    "mesenchymal",
    "leukocyte",
    "neutrophil",
    "monocyte",
    "t_cell",
    "platelet",
    "target",
    "stem",
    "probe",
    "transmitted",
    "scatter",
    "none",
)
"""Roles a marker may play. 'none' is read and measured, never fed to a network."""

RGB_PLANES: tuple[str, ...] = ("R", "G", "B")
BIT_DEPTHS: tuple[int, ...] = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Channel:
    """One channel of a panel.

    Attributes:
        marker: name of the marker, such as 'CK'; unique in its panel, whatever the case of its letters.
        role: one of `ROLES`.
        fluorophore: dye, such as 'PE', where known.
        emission_nm: peak of the emission in nm, where known.
        plane: 'R', 'G' or 'B' where the channel is a plane of an RGB picture.
    """

    marker: str
    role: str
    fluorophore: str | None = None
    emission_nm: float | None = None
    plane: str | None = None


@dataclass(frozen=True)
class Panel:
    """Channels in the order in which they stand in an image.

    Attributes:
        name: name of the panel.
        channels: at least one channel.
        bit_depth: bits that the camera uses, one of `BIT_DEPTHS`; full scale is 2**bit_depth - 1 counts.
        pixel_size_um: micrometres per pixel where the platform fixes it, else None.
    """

    name: str
    channels: tuple[Channel, ...]
    bit_depth: int
    pixel_size_um: float | None = None

    def __post_init__(self) -> None:
        _check_panel(self)

    @property
    def markers(self) -> tuple[str, ...]:
        """Marker names in channel order."""
        return tuple(channel.marker for channel in self.channels)

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles in channel order."""
        return tuple(channel.role for channel in self.channels)

    @property
    def full_scale(self) -> int:
        """Largest count that the bit depth allows."""
        return 2**self.bit_depth - 1

    @property
    def rgb_order(self) -> tuple[int, ...] | None:
        """For each channel the index (0, 1, 2) of its plane in an RGB picture; None for other panels."""
        planes = [channel.plane for channel in self.channels]
        return None if None in planes else tuple(RGB_PLANES.index(plane) for plane in planes if plane)

    def network_panel(self) -> Panel:
        """The panel without channels of role 'none': what a network is fed."""
        kept = tuple(channel for channel in self.channels if channel.role != "none")
        if not kept:
            raise PanelError("has no channel with a role", where=f"panel '{self.name}'", fix="give a channel a role")
        return Panel(self.name, kept, self.bit_depth, self.pixel_size_um)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in a panel's YAML file; keys without a value are left out."""
        channels = [{key: value for key, value in asdict(c).items() if value is not None} for c in self.channels]
        content: dict[str, Any] = {"name": self.name, "bit_depth": self.bit_depth, "channels": channels}
        if self.pixel_size_um is not None:
            content["pixel_size_um"] = self.pixel_size_um
        return content


def _check_panel(panel: Panel) -> None:
    where = f"panel '{panel.name}'"
    if not panel.channels:
        raise PanelError("has no channels", where=where, expected="at least one channel")
    folded = [channel.marker.casefold() for channel in panel.channels]
    twice = sorted({channel.marker for channel in panel.channels if folded.count(channel.marker.casefold()) > 1})
    if twice:
        raise PanelError(
            f"names channels twice: {', '.join(twice)}", where=where, expected="unique marker names", fix="rename one"
        )
    for channel in panel.channels:
        if channel.role not in ROLES:
            raise PanelError(
                f"channel '{channel.marker}' has the unknown role '{channel.role}'",
                where=where,
                expected=f"one of: {', '.join(ROLES)}",
            )
        if channel.plane is not None and channel.plane not in RGB_PLANES:
            raise PanelError(f"channel '{channel.marker}' has the unknown plane '{channel.plane}'", where=where)
        if not channel.marker or set(channel.marker) & set("/\\{},"):
            raise PanelError(
                f"channel name '{channel.marker}' cannot be used in file names and column names",
                where=where,
                expected="a name without / \\ { } or a comma",
            )
    planes = [channel.plane for channel in panel.channels if channel.plane is not None]
    if planes and (len(planes) != len(panel.channels) or len(set(planes)) != len(planes)):
        raise PanelError("gives planes to some channels only, or one plane twice", where=where)
    if panel.bit_depth not in BIT_DEPTHS:
        raise PanelError(
            "has an unknown bit depth", where=where, expected=f"one of {BIT_DEPTHS}", found=str(panel.bit_depth)
        )
    if panel.pixel_size_um is not None and not 0 < panel.pixel_size_um < 100:
        raise PanelError(
            "has an impossible pixel size", where=where, expected="0 to 100 um", found=str(panel.pixel_size_um)
        )


def panel_from_dict(content: Mapping[str, Any], where: str | Path = "panel") -> Panel:
    """Build a panel from plain data.

    Raises:
        PanelError: keys or values are wrong.
    """
    check_keys(
        content,
        required=("name", "channels", "bit_depth"),
        optional=("pixel_size_um", "description"),
        where=where,
        error=PanelError,
    )
    if not isinstance(content["channels"], list):
        raise PanelError("channels is no list", where=where, expected="a list of marker and role")
    channels = []
    for position, entry in enumerate(content["channels"]):
        place = f"{where}, channel {position + 1}"
        if not isinstance(entry, Mapping):
            raise PanelError("is no mapping", where=place, expected="marker: NAME, role: ROLE", found=str(entry))
        check_keys(
            entry,
            required=("marker", "role"),
            optional=("fluorophore", "emission_nm", "plane"),
            where=place,
            error=PanelError,
        )
        channels.append(_channel_from_dict(entry, place))
    try:
        pixel_size = content.get("pixel_size_um")
        size_um = None if pixel_size is None else float(pixel_size)
        bit_depth = float(content["bit_depth"])
        return Panel(str(content["name"]), tuple(channels), int(bit_depth) if bit_depth % 1 == 0 else -1, size_um)
    except (TypeError, ValueError) as cause:
        raise PanelError(f"has a value that is no number ({cause})", where=where) from cause
    except PanelError as error:
        what = error.what if error.where is None else f"{error.where} {error.what}"
        raise PanelError(what, where=where, expected=error.expected, found=error.found, fix=error.fix) from None


def _channel_from_dict(entry: Mapping[str, Any], place: str) -> Channel:
    for name in ("marker", "role", "fluorophore", "plane"):
        value = entry.get(name, "")
        if not isinstance(value, str) and not (name == "marker" and type(value) is int):
            raise PanelError(f"{name} is no text", where=place, found=str(value), fix="put it into quotes")
    emission_nm = entry.get("emission_nm")
    if emission_nm is not None and (isinstance(emission_nm, bool) or not isinstance(emission_nm, int | float)):
        raise PanelError("emission_nm is no number", where=place, expected="nanometres", found=str(emission_nm))
    return Channel(**{**entry, "marker": str(entry["marker"])})


def load_panel(name: str | Path) -> Panel:
    """Load a panel by the name of a shipped one or the path of a YAML file.

    Raises:
        PanelError, SettingError: no such panel, or it is malformed.
    """
    path = find_config("panels", name)
    return panel_from_dict(read_yaml_mapping(path, PanelError), where=path)


def select_channels(available: Sequence[str], wanted: Sequence[str], where: str | Path) -> list[int]:
    """Index in `available` of each channel in `wanted`, by name, whatever the case of the letters.

    Raises:
        ModelPanelError: a wanted channel is not available, or an available one is not wanted; lists both sides.
    """
    folded = [name.casefold() for name in available]
    missing = [name for name in wanted if name.casefold() not in folded]
    extra = [name for name in available if name.casefold() not in {w.casefold() for w in wanted}]
    if missing or extra:
        parts = [f"{word}: {', '.join(names)}" for word, names in (("missing", missing), ("not known", extra)) if names]
        raise ModelPanelError(
            f"channels do not match ({'; '.join(parts)})",
            where=where,
            expected=", ".join(wanted),
            found=", ".join(available),
            fix="give the panel that the images were stained with, or use a model trained for these channels",
        )
    return [folded.index(name.casefold()) for name in wanted]
