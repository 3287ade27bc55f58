"""Work on a stream, a few pieces of it side by side in threads, with the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


def in_order(work: Callable[[_Piece], _Result], pieces: Iterable[_Piece], threads: int) -> Iterator[_Result]:
    """`work` of each piece, in the order of the pieces.

    Pieces are taken by the calling thread, at most `threads` + 1 of them before the first of their results is. An
    error of a piece is raised where its result would come; pieces that wait are then dropped.

    Args:
        work: must be safe to run in several threads where `threads` is above 1.
        pieces: may be made as they are taken.
        threads: 1 or more; with 1 the calling thread does the work.
    """
    if threads == 1:
        yield from map(work, pieces)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ctcnet-side-by-side")
    waiting: deque[Future[_Result]] = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
