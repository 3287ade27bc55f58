"""Memory of frames is used again, and never while somebody looks at it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from ctcnet.scan.pipeline.canvas_memory import CanvasMemory

pytestmark = pytest.mark.unit

LARGEST = (2, 30, 40)


def memory() -> CanvasMemory:
    return CanvasMemory(LARGEST, torch.device("cpu"))


def test_memory_of_a_canvas_that_went_is_used_again():
    canvases = memory()
    first = canvases.empty(LARGEST)
    assert (first.shape, first.dtype) == (LARGEST, torch.float32)
    place = first.data_ptr()
    del first
    again = canvases.empty((2, 20, 40))
    assert again.shape == (2, 20, 40)
    assert again.is_contiguous()
    assert again.data_ptr() == place


@pytest.mark.parametrize("held", [lambda canvas: canvas[:, 3:, 5:], lambda canvas: canvas.numpy()[0]])
def test_memory_is_not_used_again_while_a_part_is_held(held):
    canvases = memory()
    canvas = canvases.empty(LARGEST).fill_(7)
    part = held(canvas)
    del canvas
    canvases.empty(LARGEST).fill_(0)
    assert (part == 7).all()


def test_threads_never_share_memory():
    canvases = memory()

    def is_own(value: int) -> bool:
        canvas = canvases.empty(LARGEST).fill_(value)
        return all(bool((canvas.add_(0) == value).all()) for _ in range(5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_own, range(400)))


def test_free_memory_can_be_given_back():
    canvases = memory()
    for _ in range(3):
        del_me = canvases.empty(LARGEST)
        del del_me
    assert len(canvases._free) == 1
    canvases.give_back()
    assert canvases._free == []
