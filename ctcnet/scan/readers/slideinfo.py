"""slideinfo.txt: what a BZScanner writes of a slide, as KEY=VALUE lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctcnet.errors import CartridgeError

FILE_NAME = "slideinfo.txt"
_ROW_KEYS = ("TILEROWS", "ROWS", "NUMROWS", "NROWS")
_COLUMN_KEYS = ("TILECOLS", "COLS", "NUMCOLS", "NCOLS", "COLUMNS")
_FIX = "copy the file again, or move it away: then the platform's own values are taken"
_STEP_KEYS = ("XSTEPSIZE", "YSTEPSIZE")


@dataclass(frozen=True)
class SlideInfo:
    """What slideinfo.txt says, where it says it.

    Attributes:
        rows, columns: grid of the scan.
        step_um: distance between neighbouring tiles, (x, y).
        gain_applied: whether the pixels are already multiplied by the channel's gain.
        settings: channel that was taken -> exposure in ms and gain.
    """

    rows: int | None = None
    columns: int | None = None
    step_um: tuple[float, float] | None = None
    gain_applied: bool = True
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def read_slideinfo(path: Path, channels: Sequence[str]) -> SlideInfo:
    """Read slideinfo.txt.

    A channel's line is CHANNEL=on,exposure,gain with on 0 or 1; gain_applied=0 or 1 may be absent, then gain was
    applied (both as in the package csi_images 3.0.4, csi_scans). Steps are in um. The grid is rarely stated.

    Args:
        path: the file.
        channels: the scanner's channels, as it names them.

    Raises:
        CartridgeError: the file cannot be read or says nothing of the scan, or a line that is used has no number where
            one belongs.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as cause:
        raise CartridgeError(f"cannot be read ({cause.strerror})", where=path, fix="check its permissions") from cause
    split = (line.partition("=") for line in lines if "=" in line)
    entries = {key.strip().upper(): value.strip() for key, _, value in split}
    if not {"GAIN_APPLIED", *_ROW_KEYS, *_COLUMN_KEYS, *_STEP_KEYS, *map(str.upper, channels)} & entries.keys():
        raise CartridgeError(
            "says nothing of the scan",
            where=path,
            expected="lines such as DAPI=1,100,1",
            found=f"{len(lines)} lines",
            fix=_FIX,
        )
    steps = [_number(entries[key], key, path) for key in _STEP_KEYS if key in entries]
    if len(steps) == 1 or any(step <= 0 for step in steps):
        raise _bad_line(path, " and ".join(_STEP_KEYS), "two distances in um", str(steps))
    rows, columns = _grid_size(entries, _ROW_KEYS, path), _grid_size(entries, _COLUMN_KEYS, path)
    if (rows is None) != (columns is None):
        raise _bad_line(path, "the grid", "rows and columns", f"{rows} rows and {columns} columns")
    return SlideInfo(
        rows=rows,
        columns=columns,
        step_um=(steps[0], steps[1]) if steps else None,
        gain_applied=entries.get("GAIN_APPLIED", "1") != "0",
        settings=_channel_settings(entries, channels, path),
    )


def _channel_settings(entries: Mapping[str, str], channels: Sequence[str], path: Path) -> dict[str, dict[str, float]]:
    settings = {}
    for channel in channels:
        if channel.upper() not in entries:
            continue
        parts = [part.strip() for part in entries[channel.upper()].split(",")]
        if parts[0] == "0":  # not taken
            continue
        values = [_number(part, channel, path) for part in parts[1:3]]
        settings[channel] = dict(zip(("exposure_ms", "gain"), values, strict=False))
    return settings


def _grid_size(entries: Mapping[str, str], keys: Sequence[str], path: Path) -> int | None:
    key = next((key for key in keys if key in entries), None)
    if key is None:
        return None
    value = _number(entries[key], key, path)
    if value < 1 or value != int(value):
        raise _bad_line(path, key, "a whole number of tiles", entries[key])
    return int(value)


def _number(text: str, key: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _bad_line(path, key, "a number", text)
    return value


def _bad_line(path: Path, key: str, expected: str, found: str) -> CartridgeError:
    return CartridgeError(
        f"has a line that cannot be used: {key}",
        where=path,
        expected=expected,
        found=found,
        fix=_FIX,
    )
