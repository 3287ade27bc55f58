"""The heap of glibc: one for all threads, and given back between stages. Elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of `mallopt(3)`, from glibc's malloc.h."""
_LARGEST_IN_HEAP = 32 << 20
"""Bytes above which memory is mapped by itself: the most that glibc takes, and more than a frame."""
_KEPT_FREE = 1 << 30
"""Bytes at the heap's end that are kept for the next frame; getting them anew costs a twentieth of a scan's time."""


def use_one_heap() -> bool:
    """Let all threads of this process allocate from one heap, which keeps what is freed; call it before they start.

    Frames are large and pass from thread to thread. With glibc's heap for each thread every one of them grows to the
    most that a frame needs: a fifth more memory, and more time spent in getting it from the system.

    Returns:
        Whether the C library is glibc and took it.
    """
    if not _is_glibc():
        return False
    set_option = ctypes.CDLL(None).mallopt
    set_option(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP)
    set_option(_M_TRIM_THRESHOLD, _KEPT_FREE)
    return bool(set_option(_M_ARENA_MAX, 1))


def give_back_free_memory() -> None:
    """Return what is free in the heap to the system, so that a stage does not add to what the one before it needed."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
