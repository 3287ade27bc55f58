"""Which channel of a scanner's files is which channel of the panel: by name, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.platform import Platform


@dataclass(frozen=True)
class ChannelMatch:
    """Channels of the files that the panel lists.

    Attributes:
        file_index: for each channel of `panel`, its index among the channels of the files.
        panel: the panel without the channels that the files do not hold; at least one channel.
        notes: what was left out on either side.
    """

    file_index: tuple[int, ...]
    panel: Panel
    notes: tuple[Note, ...]


def match_file_channels(
    file_channels: Sequence[str], panel: Panel, platform: Platform, where: str | Path
) -> ChannelMatch:
    """Match the channels of a scanner's files with those of a panel, by name, whatever the case of the letters.

    A file's channel is the panel's channel whose marker it equals; else the one whose fluorophore it equals; else the
    one whose marker `platform.channel_names` gives for it. A panel's channel of role 'none' may be absent, and a
    file's channel that `platform.ignorable` lists may be left over; both are noted.

    Args:
        file_channels: names of the channels in the files, in their order there.
        panel: channels that are wanted.
        platform: the scanner.
        where: file or folder, for messages.

    Raises:
        CartridgeError: a channel with a role is not in the files, a file's channel is not known to the panel, a name
            stands for two channels or two names for one; lists both sides.
    """
    found = [_panel_index(name, panel, platform, file_channels, where) for name in file_channels]
    twice = sorted({panel.markers[index] for index in found if index is not None and found.count(index) > 1})
    if twice:
        raise _mismatch(f"has more than one channel for {', '.join(twice)}", file_channels, panel, where)
    lacking = [channel for index, channel in enumerate(panel.channels) if index not in found]
    ignorable = {name.strip().casefold() for name in platform.ignorable}
    left_over = [name for name, index in zip(file_channels, found, strict=True) if index is None]
    needed = [channel.marker for channel in lacking if channel.role != "none"]
    unknown = [name for name in left_over if name.strip().casefold() not in ignorable]
    if needed or unknown or len(lacking) == len(panel.channels):
        parts = [
            f"{word}: {', '.join(names)}" for word, names in (("missing", needed), ("not known", unknown)) if names
        ]
        what = f"channels are not those of the panel '{panel.name}'"
        raise _mismatch(what + (f" ({'; '.join(parts)})" if parts else ""), file_channels, panel, where)
    there = tuple(index for index in range(len(panel.channels)) if index in found)
    kept = Panel(panel.name, tuple(panel.channels[index] for index in there), panel.bit_depth, panel.pixel_size_um)
    notes = [
        Note("channel_absent", f"the files have no {channel.marker} channel; no result needs it") for channel in lacking
    ]
    notes += [
        Note("channel_ignored", f"the files' channel {name} is not in the panel '{panel.name}'; it is left out")
        for name in left_over
    ]
    return ChannelMatch(tuple(found.index(index) for index in there), kept, tuple(notes))


def _panel_index(
    name: str, panel: Panel, platform: Platform, file_channels: Sequence[str], where: str | Path
) -> int | None:
    folded = name.strip().casefold()
    markers = [marker.casefold() for marker in panel.markers]
    if folded in markers:
        return markers.index(folded)
    dyes = [(channel.fluorophore or "").casefold() for channel in panel.channels]
    if folded and dyes.count(folded) > 1:
        raise _mismatch(f"channel {name} may be any of several channels with this dye", file_channels, panel, where)
    if folded and folded in dyes:
        return dyes.index(folded)
    named = {key.strip().casefold(): marker.casefold() for key, marker in platform.channel_names.items()}
    marker = named.get(folded)
    return markers.index(marker) if marker in markers else None


def _mismatch(what: str, file_channels: Sequence[str], panel: Panel, where: str | Path) -> CartridgeError:
    wanted = [
        channel.marker
        + (f" ({channel.fluorophore})" if channel.fluorophore else "")
        + (" [may be absent]" if channel.role == "none" else "")
        for channel in panel.channels
    ]
    return CartridgeError(
        what,
        where=where,
        expected=", ".join(wanted),
        found=", ".join(file_channels) or "no channels",
        fix="give the panel that was stained with --panel, or name the scanner's channels in a platform file "
        "(channel_names, ignorable)",
    )
