"""Files of a BZScanner slide by channel and tile, from their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.folder_listing import file_names, folder_names
from ctcnet.scan.readers.grey_image import JPEG_ENDINGS

_TILE = re.compile(r"tile(\d{6,})\.(tif|tiff|jpg|jpeg)", re.IGNORECASE)
_INNER = "proc"
"""Folder in which the scanner's software puts the tiles, beside its records."""


@dataclass(frozen=True)
class TileNumbers:
    """How files are numbered: 1 + tile + channel index * tiles of a channel in the complete scan.

    Attributes:
        channels: the scanner's channels, in the order of its files.
        tiles_per_channel: of the complete scan.
    """

    channels: tuple[str, ...]
    tiles_per_channel: int

    def place(self, number: int) -> tuple[int, int] | None:
        """Index of the channel and tile, from 0, of a file; None where the scan has no such file."""
        channel, tile = divmod(number - 1, self.tiles_per_channel)
        return (channel, tile) if 0 <= channel < len(self.channels) else None


def is_tile(name: str) -> bool:
    """Whether a file is named as the scanner names its tiles."""
    return _TILE.fullmatch(name) is not None


def tile_folder(path: Path) -> Path:
    """Folder that holds the tiles of a slide: its own, or the one that the scanner's software makes in it.

    Raises:
        CartridgeError: the folder cannot be listed.
    """
    if any(is_tile(name) for name in file_names(path)) or _INNER not in folder_names(path):
        return path
    return path / _INNER


def numbered_tiles(names: Sequence[str], path: Path) -> dict[int, str]:
    """Number in the name -> name, for the tiles among the names.

    Raises:
        CartridgeError: there is none, one is there twice, or some are JPEG and some TIFF.
    """
    tiles: dict[int, str] = {}
    for name in names:
        found = _TILE.fullmatch(name)
        if found is None:
            continue
        number = int(found.group(1))
        if number in tiles:
            raise CartridgeError(
                "holds a tile twice",
                where=path,
                found=f"{tiles[number]} and {name}",
                fix="keep the files of one kind, .tif (the full range of counts) rather than .jpg",
            )
        tiles[number] = name
    if not tiles:
        raise CartridgeError("holds no tile", where=path, expected="files Tile000001.tif or .jpg and so on")
    if len({name.lower().endswith(JPEG_ENDINGS) for name in tiles.values()}) > 1:
        raise CartridgeError(
            "holds tiles as JPEG and as TIFF, whose counts differ", where=path, fix="keep the files of one kind"
        )
    return tiles


def tiles_by_channel(tiles: Mapping[int, str], numbers: TileNumbers, path: Path) -> dict[int, dict[int, str]]:
    """Index of the channel -> tile, from 0 -> name, for the channels that have a tile.

    Raises:
        CartridgeError: a number is beyond the last of the scan.
    """
    found: dict[int, dict[int, str]] = {}
    for number, name in sorted(tiles.items()):
        place = numbers.place(number)
        if place is None:
            count = len(numbers.channels)
            raise CartridgeError(
                "holds a tile that the scan cannot have",
                where=path,
                expected=f"numbers 1 to {numbers.tiles_per_channel * count}: {numbers.tiles_per_channel} tiles of "
                f"{count} channels",
                found=name,
                fix="copy slideinfo.txt together with the tiles, or state the scan's size in a platform file",
            )
        found.setdefault(place[0], {})[place[1]] = name
    return found


def check_assumed_count(tiles: Mapping[int, str], numbers: TileNumbers, path: Path) -> None:
    """Refuse numbers that run without a gap over channels of another number of tiles than is assumed.

    Such are 1 to 5000 of 1,000 tiles in 5 channels, where 2,304 are assumed: every file would be taken for one of
    another channel and place.

    Raises:
        CartridgeError: the numbers from 1 to the last are all there and fit the channels, but not the tiles assumed.
    """
    last, channels = max(tiles), len(numbers.channels)
    without_gap = min(tiles) == 1 and len(tiles) == last
    if without_gap and last > numbers.tiles_per_channel and last % numbers.tiles_per_channel and not last % channels:
        raise _grid_error(
            numbers, f"numbers 1 to {last} without a gap: {last // channels} tiles in each of {channels} channels", path
        )


def check_channels_agree(whole: int, incomplete: int, numbers: TileNumbers, path: Path) -> None:
    """Refuse an assumed number of tiles by which most frames lack the file of a channel.

    Args:
        whole, incomplete: frames that have the files of all channels, and frames that do not.
        numbers: with the number of tiles assumed.
        path: the cartridge, for messages.

    Raises:
        CartridgeError: fewer frames are whole than incomplete.
    """
    if whole < incomplete:
        raise _grid_error(numbers, f"{whole} frames with the files of all channels, {incomplete} without", path)


@contextmanager
def naming_slideinfo(numbers: TileNumbers) -> Iterator[None]:
    """Add slideinfo.txt, which would settle it, to what to do about an error that a wrong assumption can cause.

    Args:
        numbers: with the number of tiles assumed.
    """
    try:
        yield
    except CartridgeError as error:
        fix = (
            f"{error.fix}; {numbers.tiles_per_channel} tiles of each channel are assumed: where the scan has another "
            "number of them, copy slideinfo.txt with ROWS and COLS together with the tiles"
        )
        raise CartridgeError(
            error.what, where=error.where, expected=error.expected, found=error.found, fix=fix
        ) from None


def _grid_error(numbers: TileNumbers, found: str, path: Path) -> CartridgeError:
    return CartridgeError(
        "holds tiles whose numbers do not fit the assumed size of the scan",
        where=path,
        expected=f"{numbers.tiles_per_channel} tiles of each channel, or the same part of them in every channel",
        found=found,
        fix="state the grid: copy slideinfo.txt with ROWS and COLS together with the tiles, or give grid_rows, "
        "grid_columns and tiles_per_channel in a platform file; where the grid is right, copy the files that are not "
        "there, or confirm it by ROWS= and COLS= in slideinfo.txt",
    )
