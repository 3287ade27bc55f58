"""The .dlm tables that an older version of the CellTracks Analyzer's software writes instead of an XML file.

How these tables are laid out is not published. They are known by what is in their first line, never by their names:
a table counts as the one of runs, filters or events where its header has all the columns of that one, as the XML names
them. Tables without such a header are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.celltracks_record import RUN_KEYS, CartridgeRecord, recorded_event, run_sizes

_SEPARATORS = ("\t", "|", ";")
_FILTER_KEYS, _EVENT_KEYS = ("filtername",), ("framenum", "location", "assigned")


def read_tables(paths: Sequence[Path]) -> CartridgeRecord | None:
    """Read the tables of one cartridge; None where none of them is a table of runs.

    Raises:
        CartridgeError: a file cannot be read, there are several runs, or the run lacks a size.
    """
    runs: list[tuple[Path, dict[str, str]]] = []
    filters: list[dict[str, str]] = []
    events: list[dict[str, str]] = []
    for path in paths:
        rows = _rows(path)
        columns = set(rows[0]) if rows else set()
        if columns.issuperset(RUN_KEYS):
            runs += [(path, row) for row in rows]
        elif columns.issuperset(_EVENT_KEYS):
            events += rows
        elif columns.issuperset(_FILTER_KEYS):
            filters += rows
    if not runs:
        return None
    if len(runs) > 1:
        raise CartridgeError(
            "records several runs",
            where=runs[1][0],
            expected="one run of one cartridge",
            found=f"{len(runs)} runs",
            fix="keep the tables of one cartridge in its folder",
        )
    path, run = runs[0]
    sizes = run_sizes(run, path)
    understood = [recorded_event(row) for row in events]
    return CartridgeRecord(
        path=path,
        rows=sizes["numrows"],
        columns=sizes["numcols"],
        camera_px=(sizes["camxsize"], sizes["camysize"]),
        filter_names=tuple(row["filtername"] for row in filters),
        events=tuple(event for event in understood if event is not None),
        unread_events=sum(event is None for event in understood),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table with a header, as column name in lower case -> text; none where there is no such table."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as cause:
        raise CartridgeError(f"cannot be read ({cause.strerror})", where=path, fix="check its permissions") from cause
    lines = [line for line in lines if line.strip()]
    if not lines:
        return []
    separator = max(_SEPARATORS, key=lines[0].count)
    header = [name.strip().strip('"').casefold() for name in lines[0].split(separator)]
    values = ([value.strip().strip('"') for value in line.split(separator)] for line in lines[1:])
    padded = (row + [""] * (len(header) - len(row)) for row in values)
    return [dict(zip(header, row, strict=False)) for row in padded]
