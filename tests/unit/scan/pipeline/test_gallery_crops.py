"""Crops of the gallery show what one large picture would show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch

from ctcnet.panel import Channel, Panel
from ctcnet.scan.cartridge import Cartridge, Frame
from ctcnet.scan.pipeline.canvas import PreparedFrame, room_px
from ctcnet.scan.pipeline.finishing import FinishInput
from ctcnet.scan.pipeline.gallery_crops import cut_gallery, gallery_crops
from ctcnet.scan.pipeline.kept_crops import CROP_COLUMN
from ctcnet.scan.pipeline.territory import Territories
from ctcnet.scan.preprocess.registration import ChannelShifts

pytestmark = pytest.mark.unit

SIDE_PX, CROP_PX = 120, 32
RECORD = {"shift_px": [1.5, -0.25], "correlation_before": None, "correlation_after": 0.9, "verdict": "undone"}


class Analyser:
    """Gives the frames of a picture, and remembers which were asked for and with which shifts."""

    def __init__(self, cartridge: Cartridge, picture: np.ndarray, step_px: int) -> None:
        self.cartridge, self.picture, self.step_px = cartridge, torch.from_numpy(picture), step_px
        self.territories = Territories(cartridge, CROP_PX / 2 * 0.5)
        self.asked: list[tuple[int, ChannelShifts | None]] = []

    def prepare(self, index: int, shifts: ChannelShifts | None) -> PreparedFrame:
        self.asked.append((index, shifts))
        frame = self.cartridge.frames[index]
        top, left = frame.row * self.step_px, frame.column * self.step_px
        above, before = room_px(frame.row, frame.column, self.territories)
        canvas = torch.full((1, above + SIDE_PX, before + SIDE_PX), torch.nan)
        counts = canvas[:, above:, before:]
        counts.copy_(self.picture[:, top : top + SIDE_PX, left : left + SIDE_PX])
        valid = torch.ones((SIDE_PX, SIDE_PX), dtype=torch.bool)
        return PreparedFrame(counts, valid, cast(ChannelShifts, shifts), canvas)


def scene(overlap_px: int = 0) -> tuple[FinishInput, Any, np.ndarray]:
    step = SIDE_PX - overlap_px
    side = 2 * step + overlap_px
    picture = np.random.default_rng(0).integers(0, 4000, (1, side, side)).astype(np.float32)
    frames = tuple(Frame(10 + 2 * r + c, r, c, c * step * 0.5, r * step * 0.5) for r in (0, 1) for c in (0, 1))
    cartridge = Cartridge(
        "scene", Path("scene"), "folder", "folder", Panel("one", (Channel("DAPI", "nucleus"),), 12, 0.5), 0.5, SIDE_PX,
        SIDE_PX, frames, (), lambda index: np.zeros(0), overlap_x_px=overlap_px, overlap_y_px=overlap_px,
    )  # fmt: skip
    analyser = Analyser(cartridge, picture, step)
    card = SimpleNamespace(crop_size_px=CROP_PX, pixel_size_um=0.5)
    finish = SimpleNamespace(
        cartridge=cartridge, card=card, analyser=analyser, settings=SimpleNamespace(device="cpu", workers=2)
    )  # fmt: skip
    return cast(FinishInput, finish), analyser, picture


def columns_of(frame: int, x_px: float, y_px: float) -> dict[str, np.ndarray]:
    return {"frame": np.array([frame]), "x_px": np.array([x_px]), "y_px": np.array([y_px])}


@pytest.mark.parametrize("overlap_px", [0, 12])
@pytest.mark.parametrize("at", [(60.0, 60.0), (105.5, 60.0), (60.0, 107.5), (106.5, 106.5)])
def test_crop_beside_a_border_holds_the_next_frame_too(overlap_px: int, at: tuple[float, float]) -> None:
    finish, _, picture = scene(overlap_px)
    (crop,) = cut_gallery(finish, columns_of(10, *at), [])
    left, top = (round(value - (CROP_PX - 1) / 2) for value in at)
    expected = picture[:, top : top + CROP_PX, left : left + CROP_PX]
    np.testing.assert_array_equal(crop, expected)


def test_rows_keep_their_order() -> None:
    finish, _, picture = scene()
    columns = {
        "frame": np.array([13, 10, 12]),
        "x_px": np.array([60.4, 50.4, 40.4]),
        "y_px": np.array([61.4, 51.4, 41.4]),
    }
    crops = cut_gallery(finish, columns, [])
    centre = (CROP_PX - 1) // 2
    assert crops[:, 0, centre, centre].tolist() == [picture[0, 181, 180], picture[0, 51, 50], picture[0, 161, 40]]


def test_frame_is_read_once_and_its_recorded_shift_is_used() -> None:
    finish, analyser, _ = scene()
    columns = {"frame": np.array([10, 11, 10]), "x_px": np.array([60.0, 3, 20]), "y_px": np.array([60.0, 60, 20])}
    cut_gallery(finish, columns, [{"frame": 10, "reference": "DAPI", "channels": {"DAPI": RECORD}}])
    assert [index for index, _ in analyser.asked] == [0, 1]
    known, unknown = (shifts for _, shifts in analyser.asked)
    assert known.shift_px.tolist() == [[1.5, -0.25]]
    assert known.verdict == ("undone",)
    assert unknown is None


def test_only_frames_of_crops_that_the_journal_lacks_are_read_again() -> None:
    finish, analyser, _ = scene()
    kept_crop = np.full((1, CROP_PX, CROP_PX), 77, np.uint16)
    column = pa.array([None, kept_crop.tobytes(), None], pa.large_binary())  # of rows 2 to 4
    tables = [pa.table({CROP_COLUMN: pa.nulls(2, pa.large_binary())}), pa.table({CROP_COLUMN: column})]
    finish_any = cast(Any, finish)
    finish_any.work = SimpleNamespace(read_columns=lambda unit, names: tables[unit].select(names))
    written = SimpleNamespace(sizes=[2, 3], kept=np.array([True, False, True, True, False]), records=[])
    columns = {
        "event_id": np.array([3, 1]),  # rows 3 and 0
        "frame": np.array([11, 13]),
        "x_px": np.array([60.0, 50.0]),
        "y_px": np.array([60.0, 50.0]),
    }
    crops = gallery_crops(finish, columns, cast(Any, written))
    np.testing.assert_array_equal(crops[0], kept_crop)
    assert [index for index, _ in analyser.asked] == [3]
    np.testing.assert_array_equal(crops[1], cut_gallery(finish, {n: v[1:] for n, v in columns.items()}, [])[0])
