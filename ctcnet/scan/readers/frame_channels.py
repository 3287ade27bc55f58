"""Which frames of a scan have the files of all channels, where each channel has files of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from ctcnet.errors import CartridgeError

Key = TypeVar("Key", bound=Any)


class SortedFrames(NamedTuple, Generic[Key]):
    """Frames, by whether all their channels are there.

    Attributes:
        whole: key of each frame that has all channels -> its files, in the order of the channels.
        incomplete: keys of the frames that lack one or more.
    """

    whole: dict[Key, tuple[Path, ...]]
    incomplete: list[Key]


def sort_frames(channels: Sequence[Mapping[Key, str]], folder: Path, path: Path) -> SortedFrames[Key]:
    """Sort frames into whole and incomplete ones.

    Args:
        channels: for each channel, key of the frame -> name of its file.
        folder: where the files are.
        path: the cartridge, for messages.

    Raises:
        CartridgeError: no frame has all its channels.
    """
    seen = sorted(set().union(*channels))
    whole = {
        key: tuple(folder / channel[key] for channel in channels)
        for key in seen
        if all(key in channel for channel in channels)
    }
    if not whole:
        raise CartridgeError(
            "holds no frame with all its channels",
            where=path,
            fix="copy the files of all channels, or state the size of the scan in a platform file",
        )
    return SortedFrames(whole, [key for key in seen if key not in whole])
