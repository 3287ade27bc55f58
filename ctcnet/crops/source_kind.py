"""Kinds of sources of crops: a manifest, a packed store, a folder of class folders, a folder of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ctcnet.errors import ManifestError, OutputError
from ctcnet.output import check_not_input

IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy")
STORE_FILE = "store.json"
PIXELS_FILE = "crops.npy"
INDEX_FILE = "index.parquet"
MANIFEST_NAMES = ("manifest.csv", "manifest.parquet")
SIMULATION_FILE = "simulation.json"
"""Stands beside the manifest of simulated crops."""


def is_store(source: Path) -> bool:
    """Whether `source` is the folder of a packed store (whole or damaged)."""
    return source.is_dir() and (source / STORE_FILE).is_file()


def manifest_in(source: Path) -> tuple[Path, tuple[str, ...]]:
    """The manifest that a folder holds, with a note that says so; any other source as it is, without a note.

    A manifest knows the cartridges' levels, which must not be lost because its folder was named.

    Raises:
        ManifestError: the folder holds more than one.
    """
    if not source.is_dir():
        return source, ()
    found = [source / name for name in MANIFEST_NAMES if (source / name).is_file()]
    if len(found) > 1:
        raise ManifestError(
            f"holds more than one manifest ({', '.join(path.name for path in found)})",
            where=source,
            fix="give the path of the one that counts",
        )
    if not found:
        return source, ()
    return found[0], (
        f"{source} holds {found[0].name}, which says what its crops are; images not listed there are left out",
    )


def images_below(folder: Path) -> list[str]:
    """Paths of the images in a folder and those below it, relative to it with '/', sorted; hidden ones left out.

    Links to folders are followed.

    Raises:
        ManifestError: there are none, or it is no folder.
    """
    if not folder.is_dir():
        raise ManifestError(
            "is neither a file nor a folder",
            where=folder,
            expected="a manifest, a folder of crops, or a packed store",
            fix="check the path",
        )
    entered = frozenset(map(str, Path(os.path.realpath(folder)).parents))  # links out of what the user named
    files = (file for file in _below(folder, entered) if file.suffix.lower() in IMAGE_ENDINGS)
    found = [file.relative_to(folder).as_posix() for file in files]
    if not found:
        raise ManifestError(
            "holds no images", where=folder, expected=f"files that end in {', '.join(IMAGE_ENDINGS)}, here or below"
        )
    return sorted(found)


def _below(folder: Path, entered: frozenset[str]) -> Iterator[Path]:
    """All that lies in a folder or below it, in no order, without what is hidden or may not be looked into.

    Links to folders are followed, but none to a folder that is `entered` already, whose real path encloses this one:
    it would lead round for ever.
    """
    real = os.path.realpath(folder)
    if real in entered:
        return
    try:
        names = os.listdir(folder)
    except PermissionError:
        return
    for name in names:
        if not name.startswith("."):
            yield folder / name
            if os.path.isdir(folder / name):
                yield from _below(folder / name, entered | {real})


def check_not_read(output: str | Path, source: str | Path) -> None:
    """Raise OutputError where an output would replace a file that crops may be read from.

    Args:
        output: path of a table to write; a new one may lie anywhere, and no image is replaced by one.
        source: a manifest, or a folder: then no manifest in it and no file of its store is replaced.
    """
    if not os.path.exists(output):
        return
    folder = Path(source)
    names = (*MANIFEST_NAMES, *((STORE_FILE, PIXELS_FILE, INDEX_FILE) if is_store(folder) else ()))
    check_not_input(output, folder, *(folder / name for name in names))
    if Path(os.path.realpath(output)).suffix.lower() in IMAGE_ENDINGS:
        raise OutputError("is an image, and is not overwritten by a table", where=output, fix="choose another place")


def class_of_image(path: str) -> str | None:
    """Name of the class folder that an image lies in: the first part of a path with two parts or more."""
    parts = path.split("/")
    return parts[0] if len(parts) > 1 else None
