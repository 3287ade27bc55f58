"""Telling a file that is damaged, which costs one frame, from a disk or share that is gone, which costs the scan."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ctcnet.errors import FrameError, UnreachableError

_OF_ONE_FILE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG, errno.EFBIG),
        *(errno.EOVERFLOW, errno.EILSEQ, errno.ESPIPE),
    }
)
"""Faults of a file itself: its permissions, its kind, or offsets in it that damaged content gives. Every other one is
of what lies under it: a share that dropped, a disk that fails, too many open files."""
_ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR))
_FIX = (
    "see to the disk or the network share, then run the same command again with --resume: finished work is kept; where "
    "this file alone cannot be read, copy the cartridge to a sound disk without it and scan it into another OUT"
)


class ReachableFrames:
    """Reads the frames of a cartridge as its reader does, but raises another error where files went away meanwhile.

    May be used in several threads at once, as the reader itself.

    Args:
        read: the reader, see `Cartridge.read_pixels`.
        path: the cartridge.
        files: size and time of change (ns) of each of its files, as they were when its scan began.
    """

    def __init__(self, read: Callable[[int], np.ndarray], path: Path, files: Mapping[Path, tuple[int, int]]) -> None:
        self._read, self._path, self._files = read, path, files

    def __call__(self, index: int) -> np.ndarray:
        """Counts of one frame, see `Cartridge.read`.

        Raises:
            FrameError: the frame's file is damaged, or was missing from the beginning.
            UnreachableError: a file that was there is gone or was changed, or its disk cannot be reached.
        """
        try:
            return self._read(index)
        except FrameError as error:
            self._check_there(error)
            check_reachable(error)
            raise

    def _check_there(self, error: FrameError) -> None:
        """Raise UnreachableError where the files that an error is about are no longer as they were."""
        named = [error.where, None if (cause := _os_error(error)) is None else cause.filename]
        concerned = [Path(name) for name in named if isinstance(name, str)]
        for path in dict.fromkeys([*concerned, self._path]):
            fault = self._fault(path)
            if fault is not None:
                raise UnreachableError(
                    f"was there when the scan began, and {fault}",
                    where=path,
                    expected="files that stay as they are until their cartridge is scanned",
                    fix=_FIX,
                ) from error

    def _fault(self, path: Path) -> str | None:
        """What happened to a file or to the cartridge as a whole; None where nothing did."""
        known = self._files.get(path)
        if known is None and path != self._path:
            return None
        try:
            stat = path.stat()
        except OSError as cause:
            return f"{'is gone' if cause.errno in _ABSENT else 'cannot be reached now'} ({cause.strerror})"
        return "was changed since" if known not in (None, (stat.st_size, stat.st_mtime_ns)) else None


def check_reachable(error: Exception) -> None:
    """Raise UnreachableError where an error comes of the disk, the share or the machine, not of a file's content.

    Files that are absent pass: whether they ever were there is not known here.

    Args:
        error: as a reader raised it, with its causes.
    """
    cause = _os_error(error)
    if cause is None or cause.errno is None or cause.errno in _OF_ONE_FILE | _ABSENT:
        return
    where = getattr(error, "where", None) or cause.filename
    reason = cause.strerror or os.strerror(cause.errno)
    raise UnreachableError(f"cannot be reached ({reason})", where=where, fix=_FIX) from error


def _os_error(error: BaseException | None) -> OSError | None:
    """The error of the system that an error was raised from, however indirectly; None where there is none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None
