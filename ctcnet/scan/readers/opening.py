"""Opening a scanned cartridge: which reader it is for is seen from what is in the folder."""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ctcnet.errors import CartridgeError, SettingError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import Platform, load_platform
from ctcnet.scan.readers.file_pattern import FilePattern
from ctcnet.scan.readers.name_numbers import LARGEST_FRAME_NUMBER
from ctcnet.scan.readers.panel_choice import check_pixel_size

LAYOUTS: dict[str, str] = {
    "celltracks": "numbered TIFF files of several pages, one file for each frame, with the scanner's XML or tags",
    "bzscanner": "files Tile000001.tif or .jpg and so on",
    "axioscan": "files CHANNEL-X000-Y000.tif and so on",
    "ome_tiff": "an .ome.tif file, or a folder of them",
    "ome_zarr": "an OME-Zarr image, or a folder of them",
    "folder": "files named by a pattern that you give: --pattern '{frame}_{channel}.tif'",
    "bioio": "any file that the BioIO library reads: --layout bioio",
}
"""Layouts and what each looks for."""

_SIMULATION_FILE = "simulation.json"

_ASKED_FOR = ("folder", "bioio")
"""Layouts that are never recognised: they would fit nearly anything."""


def open_cartridge(
    path: str | Path,
    *,
    layout: str | None = None,
    platform: str | Path | None = None,
    panel: Panel | None = None,
    pixel_size_um: float | None = None,
    pattern: str | None = None,
) -> Cartridge:
    """Open a scanned cartridge or slide; no frame is read in full.

    Args:
        path: folder or file of the scan.
        layout: one of `LAYOUTS`, with - or _; None recognises it by what is in the folder.
        platform: name of a shipped platform or path of a platform file; None is the layout's own.
        panel: channels that were stained; None is the platform's.
        pixel_size_um: micrometres per pixel, used instead of what the files say; None takes theirs.
        pattern: pattern of the file names, for the layout 'folder', which it implies.

    Raises:
        CartridgeError: there is nothing at `path`, its layout is not known or not unique, or it cannot be opened.
        SettingError, PanelError: the platform, its panel or the layout's name is wrong.
    """
    path = Path(path)
    _check_there(path)
    if pixel_size_um is not None:
        check_pixel_size(pixel_size_um, path)
    chosen_platform = None if platform is None else load_platform(platform)
    name = wanted_layout(layout, chosen_platform, pattern) or recognised_layout(path)
    reader = _reader(name)
    settings = load_platform(name) if chosen_platform is None else chosen_platform
    extra = {"pattern": pattern} if name == "folder" else {}
    cartridge: Cartridge = reader.open_cartridge(path, settings, panel, pixel_size_um, **extra)
    check_pixel_size(cartridge.pixel_size_um, path)
    _check_geometry(cartridge)
    if _is_simulated(path):
        cartridge.metadata["simulated"] = True
    return cartridge


def recognised_layout(path: Path) -> str:
    """The one layout that fits what is at `path`.

    Raises:
        CartridgeError: none fits, or more than one.
    """
    found = [name for name in LAYOUTS if name not in _ASKED_FOR and _reader(name).recognises(path)]
    if len(found) > 1:
        raise CartridgeError(
            f"holds files of {len(found)} layouts: {', '.join(found)}",
            where=path,
            expected="the files of one scan",
            fix="put them into folders of their own, or choose one with --layout",
        )
    if not found:
        raise CartridgeError(
            "has a layout that is not known",
            where=path,
            expected="; ".join(f"{name}: {what}" for name, what in LAYOUTS.items()),
            found=_content(path),
            fix="give the folder that holds the frames itself, or say how it is laid out with --layout or --pattern",
        )
    return found[0]


def _is_simulated(path: Path) -> bool:
    """Whether `ctcnet simulate cartridge` wrote it: its simulation.json stands in the folder, or beside the file."""
    for folder in (path, path.resolve().parent):
        try:
            content = json.loads((folder / _SIMULATION_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("simulated") is True:
            return True
    return False


def _check_there(path: Path) -> None:
    try:
        exists, empty = path.exists(), path.is_dir() and not any(path.iterdir())
    except OSError as cause:
        raise CartridgeError(
            f"cannot be looked at ({cause.strerror})", where=path, fix="check its permissions"
        ) from cause
    if not exists:
        raise CartridgeError("does not exist", where=path, fix="check the path, and that its disk is connected")
    if empty:
        raise CartridgeError("is an empty folder", where=path, expected="the frames of a scan", fix="copy it again")


def _check_geometry(cartridge: Cartridge) -> None:
    """Refuse numbers that stand twice or exceed 32 bits, frames that share most of their pixels, too wide a rim."""
    _check_numbers_unique(cartridge)
    highest = max(frame.number for frame in (*cartridge.frames, *cartridge.missing))
    if highest > LARGEST_FRAME_NUMBER:
        raise CartridgeError(
            "has a frame with an impossible number",
            where=cartridge.path,
            expected=f"at most {LARGEST_FRAME_NUMBER}",
            found=str(highest),
            fix="rename the files: numbers count the frames, they are no dates",
        )
    size = {"columns": cartridge.frame_width_px, "rows": cartridge.frame_height_px}
    for name, overlap in (("columns", cartridge.overlap_x_px), ("rows", cartridge.overlap_y_px)):
        if 2 * overlap > size[name]:
            raise CartridgeError(
                f"has frames that share {overlap} of their {size[name]} {name}",
                where=cartridge.path,
                expected="at most half",
                fix="check the overlap in the platform file or the scanner's record, and the pixel size",
            )
    for name, count in (("columns", cartridge.columns), ("rows", cartridge.rows)):
        if 2 * cartridge.rim_px >= count * size[name] and cartridge.rim_px:
            raise CartridgeError(
                "would be covered by its rim",
                where=cartridge.path,
                expected=f"a rim of less than half of {count * size[name]} {name}",
                found=f"{cartridge.rim_px} {name}",
                fix="check rim_um in the platform file, and the pixel size",
            )


def _check_numbers_unique(cartridge: Cartridge) -> None:
    """Refuse frames of one number: results tell frames apart by it."""
    counts = Counter(frame.number for frame in cartridge.frames)
    twice = sorted(number for number, count in counts.items() if count > 1)
    if twice:
        named = ", ".join(map(str, twice[:5])) + (f" and {len(twice) - 5} more" if len(twice) > 5 else "")
        raise CartridgeError(
            "has several frames of one number",
            where=cartridge.path,
            expected="a number of its own for each frame: results name frames by it",
            found=f"{counts[twice[0]]} frames of number {twice[0]}; numbers that stand more than once: {named}",
            fix="keep one scan in each folder, number the files through, or leave {frame} out of a --pattern that "
            "holds {row} and {column}",
        )


def wanted_layout(layout: str | None, platform: Platform | None, pattern: str | None) -> str | None:
    """The layout that the user asked for, in whichever way; None where in no way.

    Raises:
        SettingError: there is no such layout, different ones are asked for, or the pattern is wrong.
    """
    if pattern is not None:
        FilePattern(pattern)
    asked = {
        "--layout": None if layout is None else layout.strip().casefold().replace("-", "_"),
        "--pattern": None if pattern is None else "folder",
        "the platform file": None if platform is None else platform.layout,
    }
    given = {source: name for source, name in asked.items() if name is not None}
    if len(set(given.values())) > 1:
        raise SettingError(
            "different layouts are asked for",
            found=", ".join(f"{name} by {source}" for source, name in given.items()),
            fix="let them agree, or leave one out",
        )
    name = next(iter(given.values()), None)
    if name is not None and name not in LAYOUTS:
        raise SettingError(f"unknown layout '{name}'", expected=f"one of: {', '.join(LAYOUTS)}")
    return name


def _reader(name: str) -> ModuleType:
    return import_module(f"ctcnet.scan.readers.{name}")


def _content(path: Path) -> str:
    """A few names, for the message that says what was found."""
    if path.is_file():
        return f"the file {path.name}"
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in path.iterdir())
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
