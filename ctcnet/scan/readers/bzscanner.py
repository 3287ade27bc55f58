"""Slides scanned by a BZScanner: Tile000001.tif or .jpg, one file for each tile and channel.

Rows run in turn to the right and to the left. Often only a part of the tiles was copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers import preserved_range
from ctcnet.scan.readers.bzscanner_tiles import (
    TileNumbers,
    check_assumed_count,
    check_channels_agree,
    is_tile,
    naming_slideinfo,
    numbered_tiles,
    tile_folder,
    tiles_by_channel,
)
from ctcnet.scan.readers.channel_files import ChannelFiles
from ctcnet.scan.readers.channel_matching import match_file_channels
from ctcnet.scan.readers.folder_listing import file_names
from ctcnet.scan.readers.frame_channels import sort_frames
from ctcnet.scan.readers.frame_grid import (
    FrameGrid,
    check_grid_size,
    in_order,
    incomplete_notes,
    missing_note,
    part_note,
)
from ctcnet.scan.readers.frame_shape import FrameShape, common_shape
from ctcnet.scan.readers.grey_image import JPEG_ENDINGS, grey_shape
from ctcnet.scan.readers.panel_choice import choose_pixel_size, panel_or_default
from ctcnet.scan.readers.slideinfo import FILE_NAME, SlideInfo, read_slideinfo

LAYOUT = "bzscanner"
_LARGEST_OVERLAP = 0.2
"""Share of a tile that its neighbour may show again; steps that imply more are not in um, or of another scan."""


def recognises(path: Path) -> bool:
    """Whether a folder holds files named as a BZScanner names its tiles."""
    return path.is_dir() and any(map(is_tile, file_names(tile_folder(path))))


def open_cartridge(path: Path, platform: Platform, panel: Panel | None, pixel_size_um: float | None) -> Cartridge:
    """Open a slide, or the part of it that is there; reads no tile in full.

    Frames are numbered as the files of the first channel are, from 1. Frames count as missing between the first and
    the last tile that is there; that the rest of a complete scan is not there is noted.

    Raises:
        CartridgeError: there is no tile, a tile is there twice, a channel with a role is absent, or slideinfo.txt or
            the numbers of the files contradict the scan's size, stated or assumed.
    """
    folder = tile_folder(path)
    names = file_names(folder)
    tiles = numbered_tiles(names, path)
    info = _slide_info(path, folder, platform)
    rows, columns = _grid_size(info, platform, path)
    numbers, assumed = TileNumbers(platform.file_channels, rows * columns), not _states_grid(info)
    if assumed:
        check_assumed_count(tiles, numbers, path)
    by_channel = tiles_by_channel(tiles, numbers, path)
    present = [platform.file_channels[index] for index in by_channel]
    wanted = panel_or_default(panel, platform, path)
    with naming_slideinfo(numbers) if assumed else nullcontext():
        match = match_file_channels(present, wanted, platform, path)
        channels = list(by_channel.values())
        whole, incomplete = sort_frames([channels[index] for index in match.file_index], folder, path)
    if assumed:
        check_channels_agree(len(whole), len(incomplete), numbers, path)
    shape = common_shape([files[0] for files in whole.values()], grey_shape, path)
    size_um, size_notes = choose_pixel_size(pixel_size_um, None, platform.pixel_size_um, path)
    (overlap_x, overlap_y), step_notes = _overlap_px(info, platform, shape, size_um)
    step_um = ((shape.width_px - overlap_x) * size_um, (shape.height_px - overlap_y) * size_um)
    grid = FrameGrid(rows, columns, platform.serpentine, *step_um)
    seen = [*whole, *incomplete]
    check_grid_size(max(seen) - min(seen) + 1, path)
    frames = in_order(grid.frame(tile + 1, tile) for tile in whole)
    missing = in_order(grid.frame(tile + 1, tile) for tile in range(min(seen), max(seen) + 1) if tile not in whole)
    stretched = _is_stretched(names)
    bit_depth = 16 if stretched else 8 if shape.bits == 8 else platform.bit_depth
    reader = ChannelFiles(
        files=tuple(whole[frame.number - 1] for frame in frames),
        shape=shape,
        full_scale=2**bit_depth - 1,
        restore=preserved_range.restore_range if stretched else None,
    )
    return Cartridge(
        name=path.resolve().name,
        path=path,
        layout=LAYOUT,
        platform=platform.name,
        panel=replace(match.panel, bit_depth=bit_depth, pixel_size_um=size_um),
        pixel_size_um=size_um,
        frame_height_px=shape.height_px,
        frame_width_px=shape.width_px,
        frames=tuple(frames),
        missing=tuple(missing),
        read_pixels=reader.read,
        overlap_x_px=overlap_x,
        overlap_y_px=overlap_y,
        rim_px=round(platform.rim_um / size_um),
        notes=(
            *match.notes,
            *size_notes,
            *step_notes,
            *_gain_note(info),
            *part_note(len(whole), rows * columns),
            *missing_note(missing),
            *incomplete_notes(tile + 1 for tile in incomplete),
        ),
        metadata={} if info is None else {"channel_settings": {key: dict(v) for key, v in info.settings.items()}},
    )


def _slide_info(path: Path, folder: Path, platform: Platform) -> SlideInfo | None:
    for place in dict.fromkeys((folder, path)):
        for name in file_names(place):
            if name.lower() == FILE_NAME:
                return read_slideinfo(place / name, platform.file_channels)
    return None


def _states_grid(info: SlideInfo | None) -> bool:
    return info is not None and info.rows is not None and info.columns is not None


def _grid_size(info: SlideInfo | None, platform: Platform, path: Path) -> tuple[int, int]:
    """Rows and columns of the complete scan, by slideinfo.txt, else by the platform."""
    if info is not None and info.rows is not None and info.columns is not None:
        return info.rows, info.columns
    rows, columns = platform.grid_rows, platform.grid_columns
    if rows < 1 or columns < 1 or platform.tiles_per_channel != rows * columns:
        raise CartridgeError(
            f"needs the size of its scan, which the platform '{platform.name}' does not state",
            where=path,
            expected="grid_rows, grid_columns and their product tiles_per_channel",
            found=f"{rows}, {columns} and {platform.tiles_per_channel}",
            fix="mend the platform file",
        )
    return rows, columns


def _overlap_px(
    info: SlideInfo | None, platform: Platform, shape: FrameShape, pixel_size_um: float
) -> tuple[tuple[int, int], list[Note]]:
    """Columns and rows that neighbouring tiles share, by the scanner's steps where it states them.

    Steps are tried both ways round: the slide stands upright in the scanner, so that its x may be the image's y.
    Steps that fit neither way are not used, and that is noted.
    """
    usual = (platform.overlap_x_px, platform.overlap_y_px)
    if info is None or info.step_um is None:
        return usual, []
    size = (shape.width_px, shape.height_px)
    for step_um in (info.step_um, info.step_um[::-1]):
        shared = [length - step / pixel_size_um for length, step in zip(size, step_um, strict=True)]
        if all(-1 <= share <= _LARGEST_OVERLAP * length for share, length in zip(shared, size, strict=True)):
            return (max(0, round(shared[0])), max(0, round(shared[1]))), []
    message = (
        f"the steps in {FILE_NAME}, {info.step_um[0]:g} and {info.step_um[1]:g} um, do not fit tiles of {size[0]} x "
        f"{size[1]} px of {pixel_size_um:g} um; the platform's overlap is taken"
    )
    return usual, [Note("step_size_unused", message)]


def _is_stretched(names: Sequence[str]) -> bool:
    """Whether the tiles are JPEG files with their range beside them."""
    is_jpeg = any(name.lower().endswith(JPEG_ENDINGS) and is_tile(name) for name in names)
    return is_jpeg and any(name.lower().endswith(preserved_range.ENDING) for name in names)


def _gain_note(info: SlideInfo | None) -> list[Note]:
    if info is None or info.gain_applied:
        return []
    return [
        Note("gain_not_applied", "the pixels were not multiplied by the channels' gains; they are used as they are")
    ]
