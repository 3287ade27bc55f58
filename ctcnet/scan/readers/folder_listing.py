"""Names of the files in a folder, listed once: a slide holds more than ten thousand."""

from __future__ import annotations

import errno
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
            return sorted(e.name for e in entries if not e.name.startswith(".") and _leads_to(e, wanted))
    except OSError as cause:
        raise CartridgeError(
            f"cannot be listed ({cause.strerror})", where=folder, fix="check the path and its permissions"
        ) from cause


def _leads_to(entry: os.DirEntry[str], wanted: Callable[[os.DirEntry[str]], bool]) -> bool:
    try:
        return wanted(entry)
    except OSError as cause:
        if cause.errno != errno.ELOOP:
            raise
        return False  # a link that leads to itself is missing, as one that leads to nothing is
