"""The folder OUT of a scan: one run at a time, results of one model only."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctcnet.errors import OutputError
from ctcnet.output import check_output
from ctcnet.scan.pipeline.work_folder import part_of, sync_folder, write_whole

RUN_FILE = "scan.json"
"""What every folder written by a scan holds."""

_LOCK_FILE = ".lock"


def check_scan_output(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Check, before any work is done, that OUT can be opened; nothing in it is changed.

    Args: as in `scan_output`.

    Raises:
        OutputError: as `scan_output`; whether results there are of another model shows when the model is loaded.
    """
    if resume and overwrite:
        raise OutputError("--resume and --overwrite exclude each other", where=path)
    try:
        if path.is_file():
            raise OutputError("is a file", where=path, expected="the path of a folder", fix="choose another place")
        if not (resume and (path / RUN_FILE).is_file()):
            _check_new(path, overwrite)
        if (path / _LOCK_FILE).is_file():
            with (path / _LOCK_FILE).open("w") as lock, _locked(lock.fileno(), path):
                pass
        if path.is_dir():
            with tempfile.TemporaryFile(dir=path):
                pass
    except OSError as cause:
        raise OutputError(
            f"cannot be written ({cause.strerror or cause})", where=path, fix="choose a folder that you may write to"
        ) from cause


@contextmanager
def scan_output(path: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Open OUT for one run.

    Args:
        path: folder to write.
        identity: what all results in it share (model, software), as plain data.
        resume: whether results that are there are kept and added to.
        overwrite: whether results of an earlier scan are removed first.

    Raises:
        OutputError: another scan is writing into the folder; it holds results and neither `resume` nor `overwrite` is
            given, or results of another model, or something that no scan wrote; it cannot be written.
    """
    check_scan_output(path, resume=resume, overwrite=overwrite)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with (path / _LOCK_FILE).open("w") as lock, _locked(lock.fileno(), path):
            _claim(path, identity, resume=resume, overwrite=overwrite)
            yield path
    except OSError as cause:
        raise OutputError(
            f"could not be written ({cause.strerror or cause})",
            where=path,
            fix="see to the disk, then run the same command again with --resume; finished work is kept",
        ) from cause


def _check_new(path: Path, overwrite: bool) -> None:
    """Refuse a folder with contents; what a run that was cut off at once leaves is none."""
    if path.is_dir() and {entry.name for entry in path.iterdir()} <= {_LOCK_FILE, part_of(path / RUN_FILE).name}:
        return
    try:
        check_output(path, overwrite=overwrite, made_with=RUN_FILE)
    except OutputError as error:
        fix = f"{error.fix}; to go on with a scan that was cut off, pass --resume"
        raise OutputError(error.what, where=error.where, fix=fix) from None


@contextmanager
def _locked(descriptor: int, path: Path) -> Iterator[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            "another scan is writing into this folder", where=path, fix="wait for it to end, or use another OUT"
        ) from None
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _claim(path: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    file = path / RUN_FILE
    if file.is_file() and overwrite:
        for entry in path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in (_LOCK_FILE, RUN_FILE):
                entry.unlink()
        file.unlink()  # last: a folder without it is not known as a scan's
    if file.is_file():
        if not resume:
            raise OutputError("exists already", where=path, fix="pass --resume, --overwrite, or choose another place")
        _check_identity(file, identity)
        return
    write_whole(file, (json.dumps(dict(identity), indent=1, sort_keys=True) + "\n").encode())
    sync_folder(path)


def _check_identity(file: Path, identity: Mapping[str, Any]) -> None:
    try:
        found = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as cause:
        raise OutputError("is damaged", where=file, fix="use another OUT, or pass --overwrite") from cause
    other = sorted(key for key in {*identity, *found} if identity.get(key) != found.get(key))
    if other:
        raise OutputError(
            f"holds results of another model or version; these differ: {', '.join(other)}",
            where=file.parent,
            expected=", ".join(f"{key} {identity.get(key)}" for key in other),
            found=", ".join(f"{key} {found.get(key)}" for key in other),
            fix="scan into another OUT: results of different models are not mixed",
        )
