"""Names of the files in a folder, listed once: a slide holds more than ten thousand."""

from __future__ import annotations

import os
from pathlib import Path

from ctcnet.errors import CartridgeError


def file_names(folder: Path) -> list[str]:
    """Names of the files in a folder, sorted, without hidden ones; no file is opened or looked at.

    Raises:
        CartridgeError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    except OSError as cause:
        raise CartridgeError(
            f"cannot be listed ({cause.strerror})", where=folder, fix="check the path and its permissions"
        ) from cause


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones.

    Raises:
        CartridgeError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError as cause:
        raise CartridgeError(
            f"cannot be listed ({cause.strerror})", where=folder, fix="check the path and its permissions"
        ) from cause
