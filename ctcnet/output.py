"""Outputs that are whole or absent: written beside their place and moved there when finished."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ctcnet.errors import OutputError


def check_output(path: str | Path, *, overwrite: bool, made_with: str | None = None) -> Path:
    """Check, before any work is done, that an output can be written. Nothing is made by this, not even its folder.

    Args:
        path: file or folder to write.
        overwrite: whether an output that stands there may be replaced.
        made_with: for folders, a file that every folder of this kind holds; one without it is never replaced.

    Raises:
        OutputError: `path` exists (an empty folder counts as absent) and `overwrite` is false, or its folder cannot
            be made or written to; or it is a folder of another kind, or a pipe or device, which would be replaced.
    """
    path = Path(path)
    try:
        empty_dir = path.is_dir() and not any(path.iterdir())
        is_special = path.exists() and not path.is_file() and not path.is_dir()
    except OSError as cause:
        raise OutputError(f"cannot be looked at ({cause.strerror})", where=path, fix="choose another place") from cause
    if is_special:
        raise OutputError(
            "is a pipe or a device, and is not replaced",
            where=path,
            expected="the path of a file or folder",
            fix="choose another place",
        )
    if path.exists() and not empty_dir and not overwrite:
        raise OutputError("exists already", where=path, fix="choose another place, or pass --overwrite")
    if path.is_dir() and not empty_dir and made_with is not None and not (path / made_with).is_file():
        raise OutputError(
            f"is a folder that this command did not write (no {made_with}), and is not overwritten",
            where=path,
            fix="choose another place",
        )
    if Path(os.path.realpath(path)) in (Path.cwd(), *Path.cwd().parents):
        raise OutputError("is the folder you are in, or one above it", where=path, fix="choose another place")
    try:
        nearest = next((folder for folder in path.parents if folder.exists()), path.parent)
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as cause:
        raise OutputError(
            f"cannot be written ({cause.strerror})", where=path, fix="choose a folder that you may write to"
        ) from cause
    return path


@contextmanager
def _folders_above(path: Path) -> Iterator[None]:
    """Make the folders that an output lies in; those that were made go again where the work fails."""
    made = missing_folders_above(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:  # an interruption by hand too
        remove_empty(made)
        raise


def missing_folders_above(path: Path) -> list[Path]:
    """Folders that would have to be made for an output, nearest first."""
    return [folder for folder in path.parents if not folder.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, nearest to the output first, of which another process may have come to use some: these stay."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def check_not_input(path: str | Path, *inputs: str | Path) -> None:
    """Raise OutputError where an output is one of the inputs, which overwriting would destroy."""
    for name in inputs:
        if os.path.realpath(path) == os.path.realpath(name):
            raise OutputError("is also an input, and is not overwritten", where=path, fix="choose another place")


@contextmanager
def new_output_file(path: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a path to write to; on success it becomes `path` in one step, on failure nothing is left.

    Raises:
        OutputError: see `check_output`; also when the disk is full or the path is a folder.
    """
    with new_output_files(path, (), overwrite=overwrite) as (part,):
        yield part


@contextmanager
def new_output_files(
    path: str | Path, beside: Sequence[str | Path], outdated: Sequence[str | Path] = (), *, overwrite: bool
) -> Iterator[tuple[Path, ...]]:
    """Give paths to write a file and those that describe it to; on success they become `path` and `beside`.

    While they are moved to their places, an old file never lies beside a new one, so that an interruption leaves some
    out but mixes none: first the older files beside `path` go, then `path` is replaced in one step, then the new ones
    come beside it. When the work itself fails, nothing is left and nothing replaced.

    Args:
        path: the file.
        beside: files that describe it.
        outdated: files that describe the file that is replaced, and that are not written anew.
        overwrite: whether files that exist may be replaced.

    Raises:
        OutputError: see `check_output`, for any of the files; also when the disk is full or one of them is a folder.
    """
    path, *others = (Path(name) for name in (path, *beside))
    older = [*others, *(Path(name) for name in outdated)]
    for name in (path, *older):
        check_output(name, overwrite=overwrite)
        if name.is_dir():
            raise OutputError("is a folder", where=name, expected="the path of a file", fix="choose another place")
    parts = tuple(name.with_name(f".{name.stem}.{os.getpid()}.part{name.suffix}") for name in (path, *others))
    try:
        with _folders_above(path):
            try:
                yield parts
                for name in (path, *older):
                    check_output(name, overwrite=overwrite)  # another process may have written it meanwhile
                for name in older:
                    name.unlink(missing_ok=True)
                for part, name in zip(parts, (path, *others), strict=True):
                    os.replace(part, name)
            finally:
                for part in parts:
                    part.unlink(missing_ok=True)
    except OSError as cause:
        raise OutputError(
            f"could not be written ({cause.strerror or cause})", where=path, fix="see to the disk"
        ) from cause


def _move_over(part: Path, path: Path) -> None:
    """Move a finished folder to its place, which may hold an older one."""
    aside = part.with_suffix(".old")
    if path.exists():
        os.replace(path, aside)
    try:
        os.replace(part, path)
    except BaseException:  # an interruption by hand too
        if aside.exists():
            os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def new_output_dir(path: str | Path, *, overwrite: bool, made_with: str) -> Iterator[Path]:
    """Give a folder to write into; on success it becomes `path`, on failure nothing is left.

    A folder that is replaced is moved aside first and comes back where the move of the new one fails.

    Args: as in `check_output`.

    Raises:
        OutputError: see `check_output`; also when the disk is full or the path is a file.
    """
    path = check_output(path, overwrite=overwrite, made_with=made_with)
    if path.is_file():
        raise OutputError("is a file", where=path, expected="the path of a folder")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _folders_above(path):
            try:
                part.mkdir()
                yield part
                check_output(path, overwrite=overwrite, made_with=made_with)  # as above
                if path.exists() and not overwrite:
                    path.rmdir()  # an empty folder; fails where it no longer is
                _move_over(part, path)
            finally:
                if part.exists():
                    shutil.rmtree(part, ignore_errors=True)
    except OSError as cause:
        raise OutputError(
            f"could not be written ({cause.strerror or cause})", where=path, fix="see to the disk"
        ) from cause
