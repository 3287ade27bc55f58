"""Names of the files in a folder, listed once: a slide holds more than ten thousand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ctcnet.errors import CartridgeError


def file_names(folder: Path) -> list[str]:
    """Names of the files in a folder, sorted, without hidden ones; no file is opened or looked at.

    Raises:
        CartridgeError: the folder cannot be listed.
    """
    return _names(folder, os.DirEntry.is_file)


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones.

    Raises:
        CartridgeError: the folder cannot be listed.
    """
    return _names(folder, os.DirEntry.is_dir)


def _names(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and wanted(entry))
    except OSError as cause:
        raise CartridgeError(
            f"cannot be listed ({cause.strerror})", where=folder, fix="check the path and its permissions"
        ) from cause
