"""What a stream of frames leaves behind."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ctcnet.scan.pipeline import frame_stream
from ctcnet.scan.pipeline.canvas import StripCache
from ctcnet.scan.pipeline.frame_stream import FrameStream

pytestmark = pytest.mark.unit


def test_strips_are_let_go_when_the_frames_are_done(monkeypatch):
    made: list[weakref.ref[StripCache]] = []

    class Watched(StripCache):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(weakref.ref(self))

    monkeypatch.setattr(frame_stream, "StripCache", Watched)
    analyser = SimpleNamespace(cartridge=SimpleNamespace(columns=3), territories=SimpleNamespace(places=()))
    stream = FrameStream(cast(Any, analyser), cast(Any, None), cast(Any, None), 2, lambda: None)
    gc.disable()  # what only the collector finds stays in memory for as long as it is not called
    try:
        stream.run()
        del stream
        assert [kept() for kept in made] == [None]
    finally:
        gc.enable()
