"""Slides scanned by an Axioscan 7, exported as CHANNEL-X000-Y000.tif: one file for each tile and channel."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.platform import Platform
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
from ctcnet.scan.readers.grey_image import grey_shape
from ctcnet.scan.readers.panel_choice import choose_pixel_size, panel_or_default
from ctcnet.scan.readers.scan_yaml import FILE_NAME, ScanInfo, read_scan_yaml

LAYOUT = "axioscan"
_TILE = re.compile(r"(.+)-X(\d{3,})-Y(\d{3,})\.tiff?", re.IGNORECASE)
_CAMERA_PX = 2040
"""Height and width of the camera's image where scan.yaml does not say."""
_Place = tuple[int, int]
"""Row and column of a tile, from 0: Y and X of its name."""


def recognises(path: Path) -> bool:
    """Whether a folder holds files named as Axioscan tiles."""
    return path.is_dir() and any(_TILE.fullmatch(name) for name in file_names(path))


def open_cartridge(path: Path, platform: Platform, panel: Panel | None, pixel_size_um: float | None) -> Cartridge:
    """Open a slide, or the part of it that is there; reads no tile in full.

    Frames are numbered as csi_images numbers tiles: row * columns + column, from 0. Frames count as missing within
    the rows and columns that are there; that the rest of a complete scan is not there is noted.

    Raises:
        CartridgeError: there is no tile, a tile is there twice, a channel with a role is absent, or scan.yaml is
            malformed or contradicts the files.
    """
    names = file_names(path)
    by_channel = _tiles_by_channel(names, path)
    info = read_scan_yaml(path / FILE_NAME) if FILE_NAME in names else None
    match = match_file_channels(list(by_channel), panel_or_default(panel, platform, path), platform, path)
    channels = list(by_channel.values())
    whole, incomplete = sort_frames([channels[index] for index in match.file_index], path, path)
    seen = [*whole, *incomplete]
    rows, columns = _grid_size(info, platform, max(row for row, _ in seen), max(column for _, column in seen), path)
    shape = common_shape([files[0] for files in whole.values()], grey_shape, path)
    file_um = None if info is None else info.pixel_size_um
    size_um, size_notes = choose_pixel_size(pixel_size_um, file_um, platform.pixel_size_um, path)
    (overlap_x, overlap_y), overlap_notes = _overlap_px(info, platform, shape, path)
    step_um = ((shape.width_px - overlap_x) * size_um, (shape.height_px - overlap_y) * size_um)
    grid = FrameGrid(rows, columns, platform.serpentine, *step_um)
    frames = in_order(grid.frame_at(row * columns + column, row, column) for row, column in whole)
    check_grid_size((1 + max(row for row, _ in seen)) * (1 + max(column for _, column in seen)), path)
    holes = sorted(_rectangle(seen) - set(whole))
    missing = [grid.frame_at(row * columns + column, row, column) for row, column in holes]
    bit_depth = 8 if shape.bits == 8 else platform.bit_depth
    reader = ChannelFiles(
        files=tuple(whole[frame.row, frame.column] for frame in frames), shape=shape, full_scale=2**bit_depth - 1
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
            *overlap_notes,
            *_record_note(info),
            *part_note(len(whole), rows * columns),
            *missing_note(missing),
            *incomplete_notes(row * columns + column for row, column in incomplete),
        ),
        metadata={} if info is None else {"scan_channels": list(info.channels)},
    )


def _tiles_by_channel(names: list[str], path: Path) -> dict[str, dict[_Place, str]]:
    """Channel, as the files name it -> place -> name."""
    found: dict[str, dict[_Place, str]] = {}
    for name in names:
        parts = _TILE.fullmatch(name)
        if parts is None:
            continue
        tiles, place = found.setdefault(parts.group(1), {}), (int(parts.group(3)), int(parts.group(2)))
        if place in tiles:
            raise CartridgeError("holds a tile twice", where=path, found=f"{tiles[place]} and {name}", fix="keep one")
        tiles[place] = name
    if not found:
        raise CartridgeError("holds no tile", where=path, expected="files CHANNEL-X000-Y000.tif and so on")
    return found


def _grid_size(
    info: ScanInfo | None, platform: Platform, last_row: int, last_column: int, path: Path
) -> tuple[int, int]:
    """Rows and columns of the complete scan, by scan.yaml, else by the platform or what is there if it is more."""
    if info is None:
        return max(platform.grid_rows, last_row + 1), max(platform.grid_columns, last_column + 1)
    if last_row >= info.rows or last_column >= info.columns:
        raise CartridgeError(
            f"holds tiles beyond the grid that {FILE_NAME} states",
            where=path,
            expected=f"{info.rows} rows of {info.columns}",
            found=f"a tile in row {last_row} (Y), column {last_column} (X), counted from 0",
            fix=f"copy the {FILE_NAME} that belongs to these tiles, or move it away",
        )
    return info.rows, info.columns


def _overlap_px(
    info: ScanInfo | None, platform: Platform, shape: FrameShape, path: Path
) -> tuple[tuple[int, int], list[Note]]:
    """Columns and rows that neighbouring tiles share.

    Exports may have the overlap cut off, which the size of the files tells beside that of the camera's image.
    """
    whole, overlap = (_CAMERA_PX, _CAMERA_PX), (platform.overlap_x_px, platform.overlap_y_px)
    if info is not None:
        whole = (info.tile_width_px, info.tile_height_px)
        overlap = (int(whole[0] * info.overlap_share), int(whole[1] * info.overlap_share))
    found = (shape.width_px, shape.height_px)
    if overlap != (0, 0) and found == (whole[0] - overlap[0], whole[1] - overlap[1]):
        return (0, 0), [Note("overlap_removed", "the tiles were exported without their overlap: they touch")]
    if info is None or found == whole:
        return overlap, []
    raise CartridgeError(
        f"holds tiles of another size than {FILE_NAME} states",
        where=path,
        expected=f"{whole[0]} x {whole[1]} px, or less their overlap of {overlap[0]} x {overlap[1]} px",
        found=f"{found[0]} x {found[1]} px",
        fix=f"copy the {FILE_NAME} that belongs to these tiles, or move it away",
    )


def _record_note(info: ScanInfo | None) -> list[Note]:
    if info is not None:
        return []
    message = f"there is no {FILE_NAME}: the grid is taken to end with the last tiles, and frames are numbered by that"
    return [Note("no_record", message)]


def _rectangle(places: list[_Place]) -> set[_Place]:
    """All places within the rows and columns of some."""
    rows, columns = [row for row, _ in places], [column for _, column in places]
    return {(r, c) for r in range(min(rows), max(rows) + 1) for c in range(min(columns), max(columns) + 1)}
