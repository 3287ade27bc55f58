"""One cartridge from frames to results."""

from __future__ import annotations

import json
import os
import platform as machine
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from ctcnet.errors import CartridgeError, OutputError
from ctcnet.runtime.predictions import Predictor
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.pipeline.cartridge_results import RESULT_FILES, finish_cartridge
from ctcnet.scan.pipeline.classification import CropClassifier, model_channels
from ctcnet.scan.pipeline.finishing import FinishInput
from ctcnet.scan.pipeline.frame_analysis import FrameAnalyser
from ctcnet.scan.pipeline.frame_stream import FrameStream
from ctcnet.scan.pipeline.one_heap import give_back_free_memory
from ctcnet.scan.pipeline.prologue import cartridge_levels, describe_levels, levels_of_model
from ctcnet.scan.pipeline.settings import ScanSettings, files_modified, files_there, plan_of
from ctcnet.scan.pipeline.stage_times import StageTimes
from ctcnet.scan.pipeline.territory import Territories
from ctcnet.scan.pipeline.work_folder import PLAN_FILE, WorkFolder, sync_folder, write_whole
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.reachability import ReachableFrames

WORK_FOLDER = ".work"
LEAST_FRAME_PX = 16
"""The detector's limit."""
COMPLETE_FILE = "complete.json"
"""Written last: a cartridge's results are whole where it stands."""
LOG_FILE = "run_log.json"
"""Timings and machine details: the only file that may differ between two runs of the same work."""


@dataclass(frozen=True)
class CartridgeJob:
    """A cartridge to scan.

    Attributes:
        cartridge, platform: what was opened, and its scanner.
        predictor: the model.
        settings: see `ScanSettings`.
        folder: where its results go.
    """

    cartridge: Cartridge
    platform: Platform
    predictor: Predictor
    settings: ScanSettings
    folder: Path


def is_complete(folder: Path) -> bool:
    """Whether a cartridge's results are whole: each of its files is there with the size that was written."""
    if not (folder / COMPLETE_FILE).is_file():
        return False
    return _completed(folder)["files"] == _sizes(folder)


def clear_leftovers(folder: Path) -> None:
    """Remove what a run that was cut off left half written, and the journal of a cartridge that is complete."""
    for part in folder.glob(".*.part*"):
        part.unlink()
    if is_complete(folder):
        shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)


def completed_summary(folder: Path) -> dict[str, Any]:
    """What the summary says of a cartridge that is complete."""
    return _completed(folder)["summary"]


def completed_plan(folder: Path) -> dict[str, Any]:
    """What decided the results of a cartridge that is complete, see `plan_of`."""
    return _completed(folder)["plan"]


def completed_times(folder: Path) -> str | None:
    """When the files of a cartridge that is complete were changed, see `files_modified`; None where it is not known."""
    times = _completed(folder).get("files_modified")
    return None if times is None else str(times)


def earlier_plan(folder: Path) -> dict[str, Any] | None:
    """What decided the results that stand in a cartridge's folder, whole or unfinished; None where there are none.

    Raises:
        OutputError, OSError, ValueError: the file that says so is damaged.
    """
    if is_complete(folder):
        return completed_plan(folder)
    path = folder / WORK_FOLDER / PLAN_FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _completed(folder: Path) -> dict[str, Any]:
    path = folder / COMPLETE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {**content, **{name: dict(content[name]) for name in ("plan", "summary", "files")}}
    except (OSError, ValueError, TypeError, KeyError) as cause:
        raise OutputError("is damaged", where=path, fix="remove the folder that holds it and scan again") from cause


def scan_cartridge(job: CartridgeJob, on_frame: Callable[[], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Scan a cartridge, or go on where an earlier run was cut off.

    Args:
        job: what to scan and where to.
        on_frame: called after each frame.
        say: called with lines that the user should read while the scan runs.

    Returns:
        Figures for the summary.

    Raises:
        CartridgeError, ModelPanelError: the cartridge cannot be scanned with this model, or no frame can be read.
        OutputError: results cannot be written, or unfinished work of another scan stands in the folder.
        UnreachableError: files went away while they were read; the work that is done stays for a later run.
    """
    start = perf_counter()
    times = StageTimes()
    card, opened = job.predictor.card, job.cartridge
    cartridge = replace(opened, read_pixels=ReachableFrames(opened.read_pixels, opened.path, files_there(opened)))
    _check_frame_size(cartridge)
    channels = model_channels(cartridge.panel, card)
    territories = Territories(cartridge, card.crop_size_px * card.pixel_size_um / 2)
    analyser = FrameAnalyser(
        cartridge,
        job.platform,
        territories,
        channels,
        card.pixel_size_um,
        card.crop_size_px,
        job.settings.device,
        times,
    )
    plan = plan_of(cartridge, job.platform, card, job.settings)
    modified = files_modified(cartridge)
    work = WorkFolder(job.folder / WORK_FOLDER, {**plan, "files_modified": modified})
    (job.folder / COMPLETE_FILE).unlink(missing_ok=True)  # where it stands, other files were lost
    given = None if job.settings.levels is None else dict(job.settings.levels)
    levels = cartridge_levels(analyser, work, given, job.settings.workers)
    say(describe_levels(cartridge.name, levels))
    background, scale, source, notes = levels_of_model(levels, card, cartridge, channels)
    prologue = perf_counter() - start
    FrameStream(analyser, CropClassifier(job.predictor, background, scale), work, job.settings.workers, on_frame).run()
    analyser.canvases.give_back()
    give_back_free_memory()
    scanned = perf_counter() - start
    finish = FinishInput(
        cartridge,
        card,
        job.predictor.cartridge_reference,
        job.settings,
        plan,
        levels,
        source,
        tuple(notes),
        analyser,
        channels,
        work,
        job.folder,
    )
    try:
        summary = finish_cartridge(finish)
    except CartridgeError:  # no frame could be read: there is nothing to go on with
        work.remove()
        with suppress(OSError):  # it holds something of the user's
            job.folder.rmdir()
        raise
    _flush_results(job.folder)
    completed = {"plan": plan, "files_modified": modified, "summary": summary, "files": _sizes(job.folder)}
    write_whole(job.folder / COMPLETE_FILE, _json(completed))
    sync_folder(job.folder)
    work.remove()
    whole = perf_counter() - start
    log = {
        "seconds": round(whole, 3),
        "seconds_before_first_frame": round(prologue, 3),
        "seconds_frames": round(scanned - prologue, 3),
        "seconds_results": round(whole - scanned, 3),
        "seconds_per_stage_all_threads": times.to_dict(),
        "cells_per_second": round(summary["cells"] / max(whole, 1e-9), 1),
        "frames_per_second": round(len(cartridge.frames) / max(whole, 1e-9), 3),
        "workers": job.settings.workers,
        "device": job.settings.device,
        "machine": {"processor": machine.machine(), "system": machine.system(), "cpus": os.cpu_count()},
        "note": "a resumed run states the seconds of its own part",
    }
    write_whole(job.folder / LOG_FILE, _json(log))
    return summary


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each result file that is there."""
    return {name: (folder / name).stat().st_size for name in RESULT_FILES if (folder / name).is_file()}


def _flush_results(folder: Path) -> None:
    """Flush results to the disk: the journal that they were made from goes next."""
    for name in _sizes(folder):
        with (folder / name).open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(folder)


def _check_frame_size(cartridge: Cartridge) -> None:
    if min(cartridge.frame_width_px, cartridge.frame_height_px) < LEAST_FRAME_PX:
        raise CartridgeError(
            "has frames that are too small to find cells in",
            where=cartridge.path,
            expected=f"at least {LEAST_FRAME_PX} x {LEAST_FRAME_PX} px",
            found=f"{cartridge.frame_width_px} x {cartridge.frame_height_px} px",
            fix="give the scanner's whole frames",
        )


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
