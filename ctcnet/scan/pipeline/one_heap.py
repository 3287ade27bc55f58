"""The heap of glibc: one for all threads, and given back between stages. Elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import platform

_M_ARENA_MAX = -8
"""Parameter of `mallopt(3)`, from glibc's malloc.h."""


def use_one_heap() -> bool:
    """Let all threads of this process allocate from one heap; call it before they are started.

    Frames are large and pass from thread to thread. With glibc's heap for each thread every one of them grows to the
    most that a frame needs: a fifth more memory, and more time spent in getting it from the system.

    Returns:
        Whether the C library is glibc and took it.
    """
    return _is_glibc() and bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))


def give_back_free_memory() -> None:
    """Return what is free in the heap to the system, so that a stage does not add to what the one before it needed."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
