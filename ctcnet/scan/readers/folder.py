"""A plain folder of images whose names follow a pattern that the user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.channel_matching import ChannelMatch, match_file_channels
from ctcnet.scan.readers.file_pattern import FilePattern, PatternFile
from ctcnet.scan.readers.folder_grid import FolderGrid, place_frames
from ctcnet.scan.readers.frame_shape import spread_sample
from ctcnet.scan.readers.image_facts import settle_bit_depth, settle_panel
from ctcnet.scan.readers.panel_choice import choose_pixel_size
from ctcnet.scan.readers.plain_image import PlainImage, read_plain_image

LAYOUT = "folder"
_SAMPLE = 9
"""Images looked at to learn what they are: enough that a few damaged ones are outvoted."""


def recognises(path: Path) -> bool:
    """Never: nearly any folder would fit; a pattern asks for this layout."""
    return False


def open_cartridge(
    path: Path,
    platform: Platform,
    panel: Panel | None,
    pixel_size_um: float | None,
    pattern: str | None = None,
) -> Cartridge:
    """Open a folder of TIFF, PNG or JPEG images.

    With {channel} in the pattern each file holds one channel; without it each file holds all of them and must name
    them (OME or ImageJ). Places are those of {row} and {column} or {y} and {x}, counted from the least one found, or
    from 0 or 1 where the platform states the grid; with {frame} alone those of the platform's grid, and where it has
    none they are not known and no frame has neighbours.

    Args:
        path: folder.
        platform, panel, pixel_size_um: see `opening.open_cartridge`.
        pattern: see `FilePattern`.

    Raises:
        CartridgeError: no file fits, none can be read, or channels, places or pixel size are not clear.
        SettingError: the pattern is wrong.
    """
    if pattern is None:
        raise CartridgeError(
            "needs a pattern of the names of its files",
            where=path,
            fix="give for instance --pattern '{frame}_{channel}.tif'",
        )
    if not path.is_dir():
        raise CartridgeError("is no folder", where=path, fix="give the folder that holds the images")
    files = FilePattern(pattern).find(path)
    if not files:
        some = ", ".join(sorted(entry.name for entry in path.iterdir())[:5])
        raise CartridgeError(
            "holds no file that fits the pattern", where=path, expected=pattern, found=some or "nothing"
        )
    grouped = _by_frame(files, path)
    first = _typical_image(files, path)
    names = first.channel_names if files[0].channel is None else _file_channels(files)
    if not names:
        raise CartridgeError(
            "has files of several channels that do not name them",
            where=first.path,
            expected="OME or ImageJ channel names in each file, or one file per channel and {channel} in the pattern",
            found=f"{len(first.pixels)} channels",
        )
    wanted = settle_panel(panel, platform, names, path)
    size_um, size_notes = choose_pixel_size(pixel_size_um, first.pixel_size_um, platform.pixel_size_um, path)
    bits, bit_notes = settle_bit_depth(first.pixels.dtype, None, wanted, first.path)
    match = match_file_channels(names, wanted, platform, path)
    height, width = first.pixels.shape[1:]
    grid = place_frames(list(grouped), platform, width * size_um, height * size_um, size_um, path)
    return _assemble(
        path, platform, grouped, grid, match, names, (size_notes, bit_notes), first, bits=bits, size_um=size_um
    )


def _assemble(
    path: Path,
    platform: Platform,
    grouped: Mapping[tuple[tuple[str, int], ...], Mapping[str, Path]],
    grid: FolderGrid,
    match: ChannelMatch,
    names: Sequence[str],
    notes: Sequence[tuple[Note, ...]],
    first: PlainImage,
    *,
    bits: int,
    size_um: float,
) -> Cartridge:
    """The cartridge; frames that lack the file of a channel count as missing."""
    panel = replace(match.panel, bit_depth=bits, pixel_size_um=size_um)
    own_files = len(next(iter(grouped.values()))) > 1 or "" not in next(iter(grouped.values()))
    needed = [names[index].casefold() for index in match.file_index] if own_files else [""]
    frames, missing, sources, lacking = [], list(grid.missing), [], []
    for key, frame in sorted(grid.frames.items(), key=lambda item: (item[1].row, item[1].column)):
        absent = [name for name in needed if name not in grouped[key]]
        if absent:
            missing.append(frame)
            lacking.append(Note("missing_frames", f"no file for channel {', '.join(absent)}", frame.number))
        else:
            frames.append(frame)
            sources.append(tuple(grouped[key][name] for name in needed))
    if not frames:
        raise CartridgeError("has no frame with all its channels", where=path, expected=", ".join(needed))
    order = tuple(range(len(needed))) if own_files else match.file_index

    def read(index: int) -> np.ndarray:
        return _read_frame(sources[index], order, () if own_files else tuple(names), first, panel)

    height, width = first.pixels.shape[1:]
    return Cartridge(
        name=path.resolve().name,
        path=path,
        layout=LAYOUT,
        platform=platform.name,
        panel=panel,
        pixel_size_um=size_um,
        frame_height_px=height,
        frame_width_px=width,
        frames=tuple(frames),
        missing=tuple(sorted(missing, key=lambda frame: (frame.row, frame.column))),
        read_pixels=read,
        overlap_x_px=grid.overlap_x_px,
        overlap_y_px=grid.overlap_y_px,
        rim_px=round(platform.rim_um / size_um) if grid.known else 0,
        notes=(*(note for group in notes for note in group), *match.notes, *grid.notes, *lacking),
        metadata={"file_channels": list(names)},
    )


def _by_frame(files: Sequence[PatternFile], path: Path) -> dict[tuple[tuple[str, int], ...], dict[str, Path]]:
    """Files by the numbers of their frame, and there by their channel in lower case ('' where they hold all)."""
    grouped: dict[tuple[tuple[str, int], ...], dict[str, Path]] = {}
    for file in files:
        of_frame = grouped.setdefault(tuple(sorted(file.numbers.items())), {})
        channel = (file.channel or "").casefold()
        if channel in of_frame:
            raise CartridgeError(
                "has two files for one channel of a frame",
                where=path,
                found=f"{of_frame[channel].name} and {file.path.name}",
                fix="remove one, or give a narrower pattern",
            )
        of_frame[channel] = file.path
    return grouped


def _file_channels(files: Sequence[PatternFile]) -> tuple[str, ...]:
    """Names for {channel}, each once whatever the case of its letters, in the order of the alphabet."""
    names: dict[str, str] = {}
    for file in files:
        names.setdefault((file.channel or "").casefold(), file.channel or "")
    return tuple(names[key] for key in sorted(names))


def _typical_image(files: Sequence[PatternFile], path: Path) -> PlainImage:
    """First of the commonest kind in a spread sample; where none of it can be read, the first image that can."""
    kinds: dict[tuple[object, ...], list[PlainImage]] = {}
    fault: FrameError | None = None
    sample = spread_sample(len(files), _SAMPLE)
    for index in [*sample, *(index for index in range(len(files)) if index not in sample)]:
        if kinds and index not in sample:
            break
        try:
            image = read_plain_image(files[index].path)
            kinds.setdefault((image.pixels.shape, image.pixels.dtype, image.channel_names), []).append(image)
        except FrameError as error:
            fault = fault or error
    if not kinds:
        raise CartridgeError("holds no image that can be read", where=path, found=str(fault))
    return max(kinds.values(), key=len)[0]  # ties go to the earliest


def _read_frame(
    sources: Sequence[Path], order: tuple[int, ...], names: tuple[str, ...], first: PlainImage, panel: Panel
) -> np.ndarray:
    """Counts of a frame from its file or files, checked against the cartridge's first image."""
    parts = []
    for source in sources:
        image = read_plain_image(source)
        same_names = not names or [name.casefold() for name in image.channel_names] == [n.casefold() for n in names]
        if image.pixels.shape != first.pixels.shape or image.pixels.dtype != first.pixels.dtype or not same_names:
            raise FrameError(
                "is another image than the others of its cartridge",
                where=source,
                expected=first.described,
                found=image.described,
                fix="scan or export this frame again",
            )
        parts.append(image.pixels)
    pixels = np.concatenate(parts)[list(order)]
    if pixels.max() > panel.full_scale:
        raise FrameError(
            "has values above the camera's bit depth",
            where=sources[0],
            expected=f"at most {panel.full_scale} counts ({panel.bit_depth} bits)",
            found=str(pixels.max()),
            fix="give a panel with the right bit_depth",
        )
    return pixels
