"""Kinds of sources of crops: a manifest, a packed store, a folder of class folders, a folder of images."""

from __future__ import annotations

from pathlib import Path

from ctcnet.errors import ManifestError

IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy")
STORE_FILE = "store.json"
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
    found = []
    for file in folder.rglob("*"):
        relative = file.relative_to(folder)
        if file.suffix.lower() in IMAGE_ENDINGS and not any(part.startswith(".") for part in relative.parts):
            found.append(relative.as_posix())
    if not found:
        raise ManifestError(
            "holds no images", where=folder, expected=f"files that end in {', '.join(IMAGE_ENDINGS)}, here or below"
        )
    return sorted(found)


def class_of_image(path: str) -> str | None:
    """Name of the class folder that an image lies in: the first part of a path with two parts or more."""
    parts = path.split("/")
    return parts[0] if len(parts) > 1 else None
