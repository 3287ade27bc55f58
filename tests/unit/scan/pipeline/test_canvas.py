"""A canvas shows what one large picture would show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ctcnet.panel import load_panel
from ctcnet.scan.cartridge import Cartridge, Frame
from ctcnet.scan.pipeline.canvas import PreparedFrame, StripCache, build_canvas, counted_area_um2, room_px, strips_of
from ctcnet.scan.pipeline.territory import Territories
from ctcnet.scan.preprocess.registration import ChannelShifts

pytestmark = pytest.mark.unit

SIZE_PX = 120
STILL = ChannelShifts(
    np.zeros((1, 2), np.float32),
    np.zeros((1, 2), np.float32),
    np.ones(1),
    np.ones(1),
    np.ones(1, bool),
    0,
    ("aligned",),
)


class Scene:
    """A picture cut into 2 x 2 frames, some of which may be missing."""

    def __init__(self, overlap_px: int, missing: tuple[tuple[int, int], ...] = ()) -> None:
        step = SIZE_PX - overlap_px
        side = 2 * step + overlap_px
        self.picture = torch.arange(side * side, dtype=torch.float32).reshape(1, side, side)
        self.step = step
        places = [(row, column) for row in (0, 1) for column in (0, 1)]
        frames = [Frame(k + 1, r, c, c * step * 0.5, r * step * 0.5) for k, (r, c) in enumerate(places)]
        there = tuple(frame for frame in frames if (frame.row, frame.column) not in missing)
        gone = tuple(frame for frame in frames if (frame.row, frame.column) in missing)
        self.cartridge = Cartridge(
            "scene", Path("scene"), "folder", "folder", load_panel("cellsearch4"), 0.5, SIZE_PX, SIZE_PX, there, gone,
            lambda index: np.zeros(0), overlap_x_px=overlap_px, overlap_y_px=overlap_px,
        )  # fmt: skip
        self.territories = Territories(self.cartridge, 10.0)
        self.strips = StripCache(self._lend, keep=8)

    def prepared(self, index: int) -> PreparedFrame:
        frame = self.cartridge.frames[index]
        top, left = frame.row * self.step, frame.column * self.step
        above, before = room_px(frame.row, frame.column, self.territories)
        canvas = torch.full((1, above + SIZE_PX, before + SIZE_PX), torch.nan)
        counts = canvas[:, above:, before:]
        counts.copy_(self.picture[:, top : top + SIZE_PX, left : left + SIZE_PX])
        return PreparedFrame(counts, torch.ones((SIZE_PX, SIZE_PX), dtype=torch.bool), STILL, canvas)

    def _lend(self, index: int):
        return strips_of(self.prepared(index), self.cartridge, self.territories.margin_px)

    def canvas(self, row: int, column: int):
        place = next(p for p in self.territories.places if (p.row, p.column) == (row, column))
        ready = None if place.frame is None else self.prepared(place.frame)
        return build_canvas(ready, place, self.cartridge, self.territories, self.strips)


@pytest.mark.parametrize("overlap_px", [0, 12])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_canvas_is_a_window_of_the_whole_picture(overlap_px, place):
    scene = Scene(overlap_px)
    canvas = scene.canvas(*place)
    assert canvas is not None
    top, left = place[0] * scene.step - canvas.offset_y_px, place[1] * scene.step - canvas.offset_x_px
    height, width = canvas.counts.shape[1:]
    assert canvas.valid.all()
    torch.testing.assert_close(canvas.counts, scene.picture[:, top : top + height, left : left + width])


def test_a_missing_place_shows_what_its_neighbours_lend():
    scene = Scene(12, missing=((1, 1),))
    canvas = scene.canvas(1, 1)
    assert canvas is not None
    margin = scene.territories.margin_px
    top, left = scene.step - margin, scene.step - margin
    height, width = canvas.counts.shape[1:]
    window = scene.picture[:, top : top + height, left : left + width]
    torch.testing.assert_close(canvas.counts[:, canvas.valid], window[:, canvas.valid])
    assert canvas.valid[:, : margin + 12].any(dim=1).all()
    assert not canvas.valid[margin + 12 :, margin + 12 :].any()


def test_nothing_known_is_no_canvas():
    scene = Scene(0, missing=((0, 0), (0, 1), (1, 0)))
    place = scene.territories.places[0]
    assert build_canvas(None, place, scene.cartridge, scene.territories, StripCache(lambda index: None, 2)) is None


def test_strips_that_were_let_go_are_made_again():
    made = []

    def make(index: int):
        made.append(index)

    cache = StripCache(make, keep=2)
    for index in (0, 1, 2):
        cache.put(index, None)
    assert cache.lower(2) is None
    assert made == []
    cache.lower(0)
    assert made == [0]
    assert cache.lower(None) is None
    assert cache.whole(None) is None


def test_of_the_strips_to_the_right_only_the_last_is_kept():
    scene = Scene(12)
    made = []

    def make(index: int):
        made.append(index)
        return scene._lend(index)

    cache = StripCache(make, keep=4)
    for index in (0, 1):
        cache.put(index, scene._lend(index))
    before, last = cache.lower(0), cache.whole(1)
    assert before is not None
    assert before.right is None
    assert last is not None
    assert last.right is not None
    assert made == []
    again = cache.whole(0)
    assert again is not None
    assert again.right is not None
    assert made == [0]


def test_shared_pixels_are_counted_once():
    scene = Scene(20)
    areas = []
    for index, frame in enumerate(scene.cartridge.frames):
        areas.append(counted_area_um2(scene.prepared(index), scene.cartridge, frame.column == 0, frame.row == 0))
    assert sum(areas) == pytest.approx(scene.picture[0].numel() * 0.25)
