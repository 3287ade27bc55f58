"""What a user asks of a scan, and what decides its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ctcnet import __version__
from ctcnet.errors import SettingError
from ctcnet.model_card import ModelCard
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.counting.estimates import check_blood_volume
from ctcnet.scan.platform import Platform
from ctcnet.settings_file import check_keys

PLAN_FORMAT = 4
LARGEST_COUNT, LEAST_SCALE = 65535, 0.01
"""Counts of a 16-bit camera, and a scale far below that of any stain."""

_CLUTTER = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"))
"""Files and folders, in lower case, that file managers and storage systems leave and no reader reads."""
_READ_THOUGH_HIDDEN = frozenset((".zarray", ".zattrs", ".zgroup", ".zmetadata"))
"""Metadata of Zarr 2."""


@dataclass(frozen=True)
class ScanSettings:
    """Settings shared by all cartridges of a run.

    Attributes:
        model_sha256: hash of the model's file.
        device: 'cpu' or 'cuda'.
        workers: threads that work on frames.
        blood_volume_ml: blood that went into each cartridge, in mL; None where it is not known.
        levels: marker -> (background, scale) in counts, in place of measured ones; None measures them.
        csv: whether events are written as CSV too.
        pattern: of the names of the files, for the layout that needs one.
    """

    model_sha256: str
    device: str
    workers: int
    blood_volume_ml: float | None = None
    levels: Mapping[str, tuple[float, float]] | None = None
    csv: bool = False
    pattern: str | None = None

    def __post_init__(self) -> None:
        check_blood_volume(self.blood_volume_ml, "--blood-volume-ml")
        if not 1 <= self.workers <= 256:
            raise SettingError("threads are too few or too many", expected="1 to 256", found=str(self.workers))


def plan_of(cartridge: Cartridge, platform: Platform, card: ModelCard, settings: ScanSettings) -> dict[str, Any]:
    """Everything that decides the results of one cartridge, as plain data; two equal plans give equal results."""
    files = sha256()
    for name, size, _ in _listing(cartridge):
        files.update(f"{name}\0{size}\n".encode())
    grid = [[asdict(frame) for frame in frames] for frames in (cartridge.frames, cartridge.missing)]
    plan = {
        "format": PLAN_FORMAT,
        "software_version": __version__,
        "model_sha256": settings.model_sha256,
        "model_name": card.name,
        "cartridge": cartridge.name,
        "layout": cartridge.layout,
        "files_sha256": files.hexdigest(),
        "panel": cartridge.panel.to_dict(),
        "pixel_size_um": cartridge.pixel_size_um,
        "platform": asdict(platform),
        "frames": len(cartridge.frames),
        "grid_sha256": sha256(json.dumps(grid).encode()).hexdigest(),
        "pattern": settings.pattern,
        "device": settings.device,
        "blood_volume_ml": settings.blood_volume_ml,
        "levels": None if settings.levels is None else {name: list(pair) for name, pair in settings.levels.items()},
    }
    return json.loads(json.dumps(plan))


def files_modified(cartridge: Cartridge) -> str:
    """Hash of when the files of a cartridge were last changed.

    Unfinished work goes on, and results are kept, with the very same files: those of another sample may have the same
    names and sizes.
    """
    times = [f"{name}\0{modified_ns}\n" for name, _, modified_ns in _listing(cartridge)]
    return sha256("".join(times).encode()).hexdigest()


def files_there(cartridge: Cartridge) -> dict[Path, tuple[int, int]]:
    """Size and time of change (ns) of each file of a cartridge, by its path."""
    path = cartridge.path
    folder = path.parent if path.is_file() else path
    return {folder / name: (size, modified_ns) for name, size, modified_ns in _listing(cartridge)}


def _listing(cartridge: Cartridge) -> list[tuple[str, int, int]]:
    """Name, size and time of change (ns) of each file that a cartridge is made of, sorted.

    Hidden files and what file managers leave are left out: no reader reads them, and they come and go.
    """
    path = cartridge.path
    if path.is_file():
        folder, files = path.parent, {path, *(file for file in cartridge.files if file.is_file())}
    else:
        folder, files = path, (file for file in path.rglob("*") if file.is_file() and not _is_clutter(file, path))
    described = ((file.relative_to(folder).as_posix(), file.stat()) for file in files)
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in described)


def _is_clutter(file: Path, folder: Path) -> bool:
    names = file.relative_to(folder).parts
    hidden = any(name.startswith(".") and name not in _READ_THOUGH_HIDDEN for name in names)
    return hidden or any(name.casefold() in _CLUTTER for name in names)


def read_levels(path: Path) -> dict[str, tuple[float, float]]:
    """Levels from a file as a scan writes it (`levels.json`): marker -> (background, scale) in counts.

    Raises:
        SettingError: the file cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise SettingError(f"cannot be read as JSON ({cause})", where=path, fix="give a levels.json") from cause
    if not isinstance(content, dict) or not isinstance(content.get("levels"), dict):
        raise SettingError("holds no levels", where=path, expected='{"levels": {"DAPI": {"background": ..., ...}}}')
    levels = {}
    for marker, entry in content["levels"].items():
        where = f"{path}, {marker}"
        if not isinstance(entry, dict):
            raise SettingError("levels are no mapping", where=where, expected="background, scale", found=str(entry))
        check_keys(entry, required=("background", "scale"), optional=("noise",), where=where)
        background, scale = entry["background"], entry["scale"]
        if not all(_is_count(value) for value in (background, scale)) or scale < LEAST_SCALE:
            raise SettingError(
                "levels are not numbers, or a scale is too small",
                where=where,
                expected=f"counts, at most {LARGEST_COUNT}; a scale of at least {LEAST_SCALE}",
                found=str(entry),
                fix="leave the levels out, so that they are measured, or give those of a like cartridge",
            )
        levels[marker] = (float(background), float(scale))
    return levels


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -LARGEST_COUNT <= value <= LARGEST_COUNT
