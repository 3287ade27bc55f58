"""Many cartridges in one run: each by itself, so that a bad one does not stop the rest."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ctcnet.errors import CartridgeError, CtcnetError, OutputError, memory_errors
from ctcnet.runtime.predictions import Predictor
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.pipeline.cartridge_results import write_missing_csv
from ctcnet.scan.pipeline.cartridge_scan import (
    CartridgeJob,
    clear_leftovers,
    completed_plan,
    completed_summary,
    completed_times,
    earlier_plan,
    is_complete,
    scan_cartridge,
)
from ctcnet.scan.pipeline.output_folder import RUN_FILE
from ctcnet.scan.pipeline.settings import ScanSettings, files_modified, plan_of
from ctcnet.scan.pipeline.work_folder import write_whole
from ctcnet.scan.platform import Platform, load_platform

SUMMARY_FILE = "summary.csv"
SUMMARY_COLUMNS: tuple[str, ...] = (
    "cartridge", "status", "ctc_events", "ctc_interval_low", "ctc_interval_high", "ctc_per_7_5_ml",
    "ctc_per_7_5_ml_low", "ctc_per_7_5_ml_high", "ctc_corrected", "ctc_corrected_low", "ctc_corrected_high",
    "ctc_corrected_per_7_5_ml", "ctc_corrected_per_7_5_ml_low", "ctc_corrected_per_7_5_ml_high", "for_review",
    "unassigned", "cells", "leukocytes", "frames", "frames_missing", "counted_area_mm2", "warnings", "error",
)  # fmt: skip
PLAIN_WIDTH = 140
"""Characters in a line of the summary where the output is no terminal."""

DONE, FAILED = "done", "failed"
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class ScanRequest:
    """What to scan.

    Attributes:
        paths: folders or files, one for each cartridge.
        open: opens one of them.
        predictor: the model.
        settings: see `ScanSettings`.
        out: an open output folder, see `ctcnet.scan.pipeline.output_folder`.
        platform: settings of the scanner in place of those that the layout names; None for those.
    """

    paths: Sequence[Path]
    open: Callable[[Path], Cartridge]
    predictor: Predictor
    settings: ScanSettings
    out: Path
    platform: Platform | None = None


def result_names(paths: Sequence[Path]) -> list[str]:
    """Name of each cartridge's folder in OUT: its own name without characters that file systems dislike.

    Raises:
        OutputError: two cartridges have the same name.
    """
    names = [_UNSAFE.sub("_", Path(os.path.realpath(path)).name).strip(".") or "cartridge" for path in paths]
    names = [f"cartridge_{name}" if name.casefold() in (SUMMARY_FILE, RUN_FILE) else name for name in names]
    folded = [name.casefold() for name in names]
    twice = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if twice:
        first = twice[0].casefold()
        raise OutputError(
            f"two cartridges have one name: {', '.join(twice)}",
            where="ctcnet scan",
            found=", ".join(str(path) for path, name in zip(paths, folded, strict=True) if name == first),
            fix="rename a folder, or scan them into different OUT folders",
        )
    return names


def scan_all(request: ScanRequest) -> list[dict[str, Any]]:
    """Scan every cartridge and write the summary.

    Returns:
        Rows of the summary, in the order of the paths; the status is 'done' or 'failed'.

    Raises:
        OutputError: two cartridges have the same name; or results or unfinished work of other settings stand in OUT,
            of which then nothing is touched.
    """
    names = result_names(request.paths)
    whole_before = _whole_before(request, names)
    rows: list[dict[str, Any]] = []
    earlier = _earlier_rows(request.out / SUMMARY_FILE)
    with _progress() as progress:
        whole = progress.add_task("cartridges", total=len(names))
        for path, name in zip(request.paths, names, strict=True):
            rows.append(_scan_one(request, path, name, name in whole_before, progress))
            progress.advance(whole)
            done = {row["cartridge"] for row in rows}
            others = [row for row in earlier if row["cartridge"] not in done]
            write_summary([*rows, *others], request.out / SUMMARY_FILE)
    return rows


def _whole_before(request: ScanRequest, names: Sequence[str]) -> set[str]:
    """Names of the cartridges whose results are whole and those that this run would give.

    A cartridge that cannot be opened, or whose files are no longer those scanned, is left out: its row will say so.

    Raises:
        OutputError: results or unfinished work of the same files and other settings.
    """
    whole = set()
    for path, name in zip(request.paths, names, strict=True):
        folder = request.out / name
        try:
            earlier = earlier_plan(folder)
            cartridge = None if earlier is None else request.open(path)
            plan = None if cartridge is None else _plan(request, cartridge)
        except Exception:  # whatever it is: the other cartridges are scanned, and this one's row will say it
            continue
        if earlier is None or cartridge is None or plan is None or earlier.get("files_sha256") != plan["files_sha256"]:
            continue
        _check_same_plan(earlier, plan, folder)
        if is_complete(folder) and completed_times(folder) in (None, files_modified(cartridge)):
            whole.add(name)
    return whole


def _plan(request: ScanRequest, cartridge: Cartridge) -> dict[str, Any]:
    platform = request.platform or load_platform(cartridge.platform)
    return plan_of(cartridge, platform, request.predictor.card, request.settings)


def _check_same_plan(earlier: dict[str, Any], plan: dict[str, Any], folder: Path) -> None:
    """Raise OutputError where results of another plan stand in a cartridge's folder; it names what differs."""
    other = sorted(key for key in plan if earlier.get(key) != plan[key])
    if not other:
        return
    short = [key for key in other if not isinstance(earlier.get(key), dict) and not isinstance(plan[key], dict)]
    raise OutputError(
        f"holds results or unfinished work of another scan of this cartridge; these differ: {', '.join(other)}",
        where=folder,
        expected=", ".join(f"{key} {earlier.get(key)}" for key in short) or None,
        found=", ".join(f"{key} {plan[key]}" for key in short) or None,
        fix="use the same settings and files as before, or another OUT",
    )


def _check_same_times(cartridge: Cartridge, folder: Path) -> None:
    """Raise OutputError where complete results are of files that were changed at another time than the cartridge's."""
    if completed_times(folder) not in (None, files_modified(cartridge)):
        raise OutputError(
            "holds results of files with the same names and sizes that were changed at another time: this may be "
            "another sample",
            where=folder,
            expected="the very files that were scanned",
            fix="use another OUT, or pass --overwrite; a cartridge that was copied without its times needs that too "
            "(cp -p and rsync -t keep them)",
        )


def _earlier_rows(path: Path) -> list[dict[str, str]]:
    """Rows of the summary of earlier runs into the same OUT."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row.get("cartridge")]


def _scan_one(request: ScanRequest, path: Path, name: str, is_whole: bool, progress: Progress) -> dict[str, Any]:
    """Scan one cartridge, or keep its results where they are whole.

    What goes wrong becomes a row of the summary and a line on the error stream.
    """
    task = progress.add_task(name, total=None)
    try:
        summary = _kept(request, name) if is_whole else _scanned(request, path, name, progress, task)
        row = {"cartridge": name, "status": DONE, **summary, "error": ""}
    except CtcnetError as error:
        _print_error(error, path, name, progress)
        row = {"cartridge": name, "status": FAILED, "error": str(error)}
    except (OSError, *memory_errors()) as cause:  # a disk that went away; an image that says that it is huge
        what = "cannot be read or written" if isinstance(cause, OSError) else "needs more memory than there is"
        error = CartridgeError(f"{what} ({cause})", where=path, fix="see to the machine and the files; then --resume")
        _print_error(error, path, name, progress)
        row = {"cartridge": name, "status": FAILED, "error": str(error)}
    except Exception as error:  # a fault of this program must not lose the other cartridges
        progress.console.print(f"error: {name}: internal error, please report it", markup=False, highlight=False)
        traceback.print_exc(file=sys.stderr)
        row = {"cartridge": name, "status": FAILED, "error": f"internal error: {type(error).__name__}: {error}"}
    finally:
        progress.remove_task(task)
    return row


def _print_error(error: CtcnetError, path: Path, name: str, progress: Progress) -> None:
    """A line on the error stream that names the cartridge once: by its path where the error says that of itself."""
    says_path = error.where is not None and Path(error.where).is_relative_to(path)
    words = f"error: {error}" if says_path else f"error: {name}: {error}"
    progress.console.print(words, markup=False, highlight=False, soft_wrap=True)


def _kept(request: ScanRequest, name: str) -> dict[str, Any]:
    """Summary of a cartridge whose results are whole."""
    folder = request.out / name
    clear_leftovers(folder)
    if request.settings.csv:
        write_missing_csv(folder)
    return completed_summary(folder)


def _scanned(request: ScanRequest, path: Path, name: str, progress: Progress, task: Any) -> dict[str, Any]:
    """Summary of a cartridge that is scanned now."""
    cartridge = request.open(path)
    platform = request.platform or load_platform(cartridge.platform)
    job = CartridgeJob(cartridge, platform, request.predictor, request.settings, request.out / name)
    if is_complete(job.folder):  # of other files, or the cartridge could not be opened in `_whole_before`
        _check_same_plan(completed_plan(job.folder), _plan(request, cartridge), job.folder)
        _check_same_times(cartridge, job.folder)
        return _kept(request, name)
    clear_leftovers(job.folder)
    progress.update(task, total=len(cartridge.frames))
    return scan_cartridge(
        job,
        on_frame=lambda: progress.advance(task),
        say=lambda line: progress.console.print(line, markup=False, highlight=False, soft_wrap=True),
    )


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def write_summary(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the summary as CSV; fields that are not known stay empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, SUMMARY_COLUMNS, lineterminator="\n", restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def print_summary(rows: Sequence[dict[str, Any]]) -> None:
    """Print the summary as a table; corrected counts have a column where there are any."""
    corrected = ["corrected (95 %)"] if any("ctc_corrected" in row for row in rows) else []
    others = ("review", "unassigned", "cells", "frames", "warnings")
    table = Table("cartridge", "status", "CTC events", "95 %", *corrected, *others)
    for row in rows:
        done = row["status"] == DONE
        interval = _range(row, "ctc_interval")
        frames = f"{row['frames']} ({row['frames_missing']} missing)" if done else ""
        figures = [str(row[key]) for key in ("for_review", "unassigned", "cells")] if done else [""] * 3
        first_line = str(row["error"]).splitlines()[0] if row["error"] else ""
        ctcs = str(row.get("ctc_events", ""))
        if corrected:
            words = f"{row['ctc_corrected']} ({_range(row, 'ctc_corrected')})" if "ctc_corrected" in row else ""
            figures = [words, *figures]
        table.add_row(
            row["cartridge"], row["status"], ctcs, interval, *figures, frames, escape(row.get("warnings", first_line))
        )
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)


def _range(row: Mapping[str, Any], name: str) -> str:
    """An interval of the summary in words, '' where it is not known."""
    return f"{row[f'{name}_low']} to {row[f'{name}_high']}" if f"{name}_low" in row else ""
