"""Cartridges scanned by a CellTracks Analyzer II: one TIFF file for each frame, one page for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.celltracks_folder import CellTracksFolder, list_cartridge, numbered_frames, read_record
from ctcnet.scan.readers.celltracks_frames import FrameFiles, file_shape, pixel_storage
from ctcnet.scan.readers.celltracks_prior import prior_events
from ctcnet.scan.readers.celltracks_record import CartridgeRecord
from ctcnet.scan.readers.celltracks_stretch import Stretch, stretch_limits
from ctcnet.scan.readers.channel_matching import match_file_channels
from ctcnet.scan.readers.frame_grid import FrameGrid, in_order, missing_note
from ctcnet.scan.readers.frame_shape import FrameShape, common_shape, spread_sample
from ctcnet.scan.readers.panel_choice import choose_pixel_size, panel_or_default
from ctcnet.scan.readers.tiff_pages import opened_tiff

LAYOUT = "celltracks"
_GRIDS = {140: (4, 35), 144: (4, 36), 170: (5, 34), 175: (5, 35), 180: (5, 36), 210: (6, 35)}
"""Frames of a cartridge -> rows and columns, as the scanner makes them."""
_CAMERA_PX = {1384, 1036}
_TRIED = 5
"""Frames tried for recognition before they all count as damaged."""


def recognises(path: Path) -> bool:
    """Whether a folder holds numbered TIFF files of several pages with a CellTracks record, tags or camera size.

    One frame of that kind is enough among those looked at: another may be damaged or have been saved anew.
    """
    if not path.is_dir():
        return False
    folder = list_cartridge(path)
    has_record, readable = bool(folder.xml or folder.tables), False
    for index in spread_sample(len(folder.frames), _TRIED):
        try:
            with opened_tiff(folder.frames[index]) as pages:
                tagged = stretch_limits(pages[0], folder.frames[index]) is not None
                readable = True
                if len(pages) > 1 and (has_record or tagged or set(pages[0].shape) == _CAMERA_PX):
                    return True
        except FrameError:
            continue
    return bool(folder.frames) and has_record and not readable


def open_cartridge(path: Path, platform: Platform, panel: Panel | None, pixel_size_um: float | None) -> Cartridge:
    """Open a cartridge; reads a dozen pages in full to learn how pixels are stored.

    Raises:
        CartridgeError: there is no frame or none that can be read, a record is malformed or contradicts the files,
            the grid is not known, or a channel with a role is absent.
    """
    folder = list_cartridge(path)
    files = numbered_frames(folder.frames, path)
    record = read_record(folder, path)
    in_scan_order = [files[number] for number in sorted(files)]
    shape = common_shape(in_scan_order, file_shape, path)
    _check_record(record, shape, path)
    size_um, size_notes = choose_pixel_size(pixel_size_um, None, platform.pixel_size_um, path)
    rows, columns = _grid_size(record, platform, max(files), path)
    step_px = (shape.width_px - platform.overlap_x_px, shape.height_px - platform.overlap_y_px)
    grid = FrameGrid(rows, columns, platform.serpentine, step_px[0] * size_um, step_px[1] * size_um)
    places = in_order(grid.frame(number, number - 1) for number in range(1, rows * columns + 1))
    frames = [frame for frame in places if frame.number in files]
    missing = [frame for frame in places if frame.number not in files]
    match = match_file_channels(
        _page_names(record, shape, platform, path), panel_or_default(panel, platform, path), platform, path
    )
    stretch, bit_depth, stretch_notes = pixel_storage(in_scan_order, shape, platform, path)
    reader = FrameFiles(
        files=tuple(files[frame.number] for frame in frames),
        shape=shape,
        pages=match.file_index,
        stretch=stretch,
        full_scale=2**bit_depth - 1,
    )
    prior, prior_notes = prior_events(record, grid, shape, size_um)
    record_notes = [*_record_notes(record, folder), *_grid_note(record, platform, max(files))]
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
        overlap_x_px=platform.overlap_x_px,
        overlap_y_px=platform.overlap_y_px,
        rim_px=round(platform.rim_um / size_um),
        prior=prior,
        notes=(*record_notes, *match.notes, *size_notes, *stretch_notes, *missing_note(missing), *prior_notes),
        metadata=_metadata(record, stretch, shape),
    )


def _check_record(record: CartridgeRecord | None, shape: FrameShape, path: Path) -> None:
    """Refuse a record of another cartridge; which size of the camera it calls x is not asked: the TIFF is trusted."""
    if record is None:
        return
    if set(record.camera_px) != {shape.width_px, shape.height_px}:
        raise CartridgeError(
            f"holds frames that its record {record.path.name} contradicts",
            where=path,
            expected=f"{record.camera_px[0]} x {record.camera_px[1]} px",
            found=f"{shape.width_px} x {shape.height_px} px",
            fix="copy the record that belongs to these frames, or move it away",
        )
    if record.filter_names and len(record.filter_names) != shape.pages:
        raise CartridgeError(
            f"holds frames that its record {record.path.name} contradicts",
            where=path,
            expected=f"{len(record.filter_names)} pages: {', '.join(record.filter_names)}",
            found=f"{shape.pages} pages",
            fix="copy the record that belongs to these frames, or move it away",
        )


def _grid_size(record: CartridgeRecord | None, platform: Platform, highest: int, path: Path) -> tuple[int, int]:
    """Rows and columns, by the record, else the platform, else the number of frames that scanners make."""
    if record is not None:
        rows, columns = record.rows, record.columns
    elif platform.grid_rows and platform.grid_columns:
        rows, columns = platform.grid_rows, platform.grid_columns
    elif highest in _GRIDS:
        rows, columns = _GRIDS[highest]
    else:
        raise CartridgeError(
            "has a grid that is not known: there is no record, and the last frame is missing or unusual",
            where=path,
            expected=f"an XML file, or {', '.join(map(str, _GRIDS))} frames",
            found=f"frames up to number {highest}",
            fix="copy the XML file, or state grid_rows and grid_columns in a platform file",
        )
    if highest > rows * columns:
        source = "platform file" if record is None else f"record {record.path.name}"
        raise CartridgeError(
            f"holds more frames than its {source} says",
            where=path,
            expected=f"{rows} rows of {columns}: {rows * columns} frames",
            found=f"frame {highest}",
            fix="copy the record that belongs to these frames, or move it away",
        )
    return rows, columns


def _page_names(record: CartridgeRecord | None, shape: FrameShape, platform: Platform, path: Path) -> Sequence[str]:
    if record is not None and record.filter_names:
        return record.filter_names
    if shape.pages > len(platform.file_channels):
        raise CartridgeError(
            "has more pages in a frame than the platform names",
            where=path,
            expected=", ".join(platform.file_channels),
            found=f"{shape.pages} pages",
            fix="copy the XML file, or name the pages in a platform file (file_channels)",
        )
    return platform.file_channels[: shape.pages]


def _grid_note(record: CartridgeRecord | None, platform: Platform, highest: int) -> list[Note]:
    """A note where a grid that only the number of frames tells could also be a wider one whose end is missing."""
    if record is not None or (platform.grid_rows and platform.grid_columns):
        return []
    rows, columns = _GRIDS[highest]
    wider = [
        f"{rows} x {other} with the last {total - highest} frames missing"
        for total, (other_rows, other) in _GRIDS.items()
        if other_rows == rows and other > columns
    ]
    if not wider:
        return []
    message = (
        f"there is no record of the grid: {highest} frames are taken for {rows} x {columns}, but could be "
        f"{' or '.join(wider)}; then the places of all frames from the second row on are wrong"
    )
    return [Note("ambiguous_grid", message)]


def _record_notes(record: CartridgeRecord | None, folder: CellTracksFolder) -> list[Note]:
    if record is None:
        message = (
            f"{_unread_record(folder)}: the grid comes from the number of frames, the channels from the usual order "
            "of pages, and the scanner's own events are not known"
        )
        return [Note("no_record", message)]
    if not record.filter_names:
        return [Note("no_page_names", f"{record.path.name} names no filters: the pages are taken in their usual order")]
    return []


def _unread_record(folder: CellTracksFolder) -> str:
    """Why there is no record."""
    kinds = {"XML file": folder.xml, ".dlm tables": folder.tables}
    there = [f"{kind} ({', '.join(file.name for file in files)})" for kind, files in kinds.items() if files]
    return f"its {' and '.join(there)} hold no run that could be read" if there else "there is no XML file"


def _metadata(record: CartridgeRecord | None, stretch: Stretch, shape: FrameShape) -> dict[str, object]:
    return {
        "record": None if record is None else record.path.name,
        "stored_bits": shape.bits,
        "stored_full_scale": stretch.full_scale,
        "stored_offset": stretch.offset,
    }
