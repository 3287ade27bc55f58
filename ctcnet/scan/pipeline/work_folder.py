"""Finished pieces of a cartridge's scan: one file for each unit of work, there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from ctcnet.errors import OutputError

PLAN_FILE = "plan.json"
_RECORDS_KEY = b"ctcnet_frames"


class WorkFolder:
    """Journal of a cartridge's scan.

    A plan is written first: everything that decides the results (model, settings, files). A later run may go on only
    with the same plan; pieces whose plan is gone may be of any scan and are removed. A unit is one Arrow file, written
    under another name, flushed to the disk and renamed.

    Args:
        folder: where to keep the pieces; made where absent.
        plan: what decides the results, as plain data.

    Raises:
        OutputError: the folder holds pieces of another plan, or cannot be written.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self.folder = folder
        text = json.dumps(plan, indent=1, sort_keys=True)
        path = folder / PLAN_FILE
        if path.is_file():
            _check_plan(path, json.loads(text))
            return
        self.remove()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise _write_error(folder, cause) from cause
        write_whole(path, text.encode())

    def has_unit(self, unit: int) -> bool:
        """Whether a unit is finished; one whose bytes are not those that were written is to be made again."""
        path = self._path(unit)
        try:
            with path.open("rb") as stream:
                return file_digest(stream, "sha256").hexdigest() == _digest_path(path).read_text(encoding="ascii")
        except (OSError, ValueError):  # ValueError: the digest is damaged
            return False

    def write_unit(self, unit: int, table: pa.Table, records: list[dict[str, Any]]) -> None:
        """Keep the events of a unit and what is recorded of its frames; appears whole or not at all.

        Raises:
            OutputError: the disk is full or cannot be written.
        """
        described = table.replace_schema_metadata({_RECORDS_KEY: json.dumps(records)})
        sink = pa.BufferOutputStream()
        with ipc.new_file(sink, described.schema) as writer:
            writer.write_table(described)
        content = sink.getvalue()
        path = self._path(unit)
        try:  # not flushed: where a crash takes it, the unit is made again
            _digest_path(path).write_text(sha256(content).hexdigest(), encoding="ascii")
        except OSError as cause:
            raise _write_error(path, cause) from cause
        write_whole(path, content)

    def read_unit(self, unit: int) -> tuple[pa.Table, list[dict[str, Any]]]:
        """Events of a unit and what was recorded of its frames."""
        table = self._table(unit)
        return table, json.loads((table.schema.metadata or {})[_RECORDS_KEY])

    def read_columns(self, unit: int, names: list[str]) -> pa.Table:
        """Some columns of a unit."""
        return self._table(unit).select(names)

    def write_note(self, name: str, content: Any) -> None:
        """Keep plain data under a name, such as the levels; appears whole or not at all."""
        kept = {"sha256": _digest(content), "content": content}
        write_whole(self.folder / f"{name}.json", json.dumps(kept, indent=1).encode())

    def read_note(self, name: str) -> Any | None:
        """Plain data kept under a name; None where there is none, or where it is damaged and is to be made again."""
        try:
            kept = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
            return kept["content"] if kept["sha256"] == _digest(kept["content"]) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def remove(self) -> None:
        """Remove the folder: what was made from it is in its place, or it is of no use."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, unit: int) -> Path:
        return self.folder / f"unit_{unit:05d}.arrow"

    def _table(self, unit: int) -> pa.Table:
        return ipc.open_file(pa.py_buffer(self._path(unit).read_bytes())).read_all()


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(content: Any) -> str:
    return sha256(json.dumps(content).encode()).hexdigest()


def write_whole(path: Path, content: bytes | pa.Buffer) -> None:
    """Write a file so that after a crash it is there whole or not at all.

    Raises:
        OutputError: the disk is full or cannot be written.
    """
    part = part_of(path)
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as cause:
        part.unlink(missing_ok=True)
        raise _write_error(path, cause) from cause


def part_of(path: Path) -> Path:
    """What `write_whole` writes to until a file is whole."""
    return path.with_name(f".{path.name}.part")


def sync_folder(path: Path) -> None:
    """Flush a folder's list of files to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(path: Path, cause: OSError) -> OutputError:
    return OutputError(
        f"could not be written ({cause.strerror or cause})",
        where=path,
        fix="see to the disk, then run the same command again with --resume; finished work is kept",
    )


def _check_plan(path: Path, plan: dict[str, Any]) -> None:
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as cause:
        raise OutputError(
            "is damaged", where=path, fix="remove the folder that holds it, or use another OUT"
        ) from cause
    other = sorted(key for key in {*plan, *found} if plan.get(key) != found.get(key))
    if other:
        raise OutputError(
            f"holds unfinished work of another scan; these differ: {', '.join(other)}",
            where=path.parent,
            fix="use the same model, settings and files as before, or another OUT",
        )
