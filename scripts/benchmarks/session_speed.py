"""Crops per second of a session of onnxruntime, asked by one thread or by several side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime


def crop_feed(batch_size: int, crop_size_px: int = 64) -> dict[str, np.ndarray]:
    """Inputs of a crop graph of five channels: noise of 12 bit, levels of a cartridge."""
    crops = np.random.default_rng(0).integers(0, 4096, (batch_size, 5, crop_size_px, crop_size_px))
    levels = {"background": np.full(5, 100, np.float32), "scale": np.full(5, 500, np.float32)}
    return {"crops": crops.astype(np.uint16), **levels}


def open_session(path: Path, threads: int, provider: str = "CPUExecutionProvider") -> onnxruntime.InferenceSession:
    """A session with so many threads within a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=[provider])


def crops_per_second(
    session: onnxruntime.InferenceSession,
    feed: dict[str, np.ndarray],
    seconds: float,
    calls_at_once: int = 1,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Crops per second while `calls_at_once` threads call the session without a pause, for `seconds` of `clock`."""
    start = clock()

    def call(_: int) -> int:
        done = 0
        while clock() - start < seconds:
            session.run(None, feed)
            done += len(feed["crops"])
        return done

    if calls_at_once == 1:
        return call(0) / (clock() - start)
    with ThreadPoolExecutor(calls_at_once) as pool:
        done = sum(pool.map(call, range(calls_at_once)))
    return done / (clock() - start)
