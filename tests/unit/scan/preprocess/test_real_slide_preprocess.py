"""Registration, levels and quality on the real slide of the field notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ctcnet.panel import Channel, Panel
from ctcnet.scan.platform import RegistrationSettings
from ctcnet.scan.preprocess.frame_sample import FrameSample
from ctcnet.scan.preprocess.levels import measure_levels
from ctcnet.scan.preprocess.quality import frame_quality
from ctcnet.scan.preprocess.registration import ChannelShifts, measure_shifts, undo_shifts

_SLIDE = Path(__file__).parents[5] / "shared" / "data" / "blood_slide"
pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not _SLIDE.is_dir(), reason="the shared real images are not there"),
]

PIXEL_SIZE_UM = 0.59
PANEL = Panel(
    "slide",
    (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte"), Channel("FITC", "none")),
    8,
    PIXEL_SIZE_UM,
)
TILES = 2304


def undone(counts: torch.Tensor, shifts: ChannelShifts) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts with their shifts undone, in a copy, and where every channel has a source."""
    moved = counts.clone()
    return moved, undo_shifts(moved, shifts)


def _counts(frame: int) -> torch.Tensor:
    files = [_SLIDE / f"Tile{frame + channel * TILES:06d}.jpg" for channel in (0, 1, 2, 4)]
    return torch.from_numpy(np.stack([np.asarray(Image.open(file), dtype=np.float32) for file in files]))


def _shifts(counts: torch.Tensor):
    return measure_shifts(counts, PANEL.roles, PIXEL_SIZE_UM, RegistrationSettings())


def test_frame_1_has_a_nucleus_channel_of_another_place():
    shifts = _shifts(_counts(1))
    assert shifts.verdict[0] == "no_shift_fits"
    assert shifts.unregistered
    assert shifts.sure.tolist() == [False, True, True, True]


def test_frame_2_is_registered_by_itself():
    counts = _counts(2)
    shifts = _shifts(counts)
    assert shifts.measured_px[0] == pytest.approx((-17, -24), abs=0.7)  # (x, y); the notes give (row, column)
    assert shifts.correlation_before[0] < 0.1
    assert shifts.correlation_after[0] > 0.7
    again = _shifts(undone(counts, shifts)[0])
    assert np.hypot(*again.measured_px[0]) < 0.3


@pytest.mark.parametrize(
    ("frame", "cd45_px", "ck_px"), [(3, 3.4, 5.2), (4, 0.9, 0.8), (5, 1.5, 1.4)], ids=["3", "4", "5"]
)
def test_frames_3_to_5_are_displaced_as_the_notes_say(frame, cd45_px, ck_px):
    measured = _shifts(_counts(frame)).measured_px
    assert np.hypot(*measured[0]) == pytest.approx(cd45_px, abs=0.3)
    assert np.hypot(*(measured[1] - measured[0])) == pytest.approx(ck_px, abs=0.3)


def test_levels_and_focus_are_those_of_the_notes():
    counts = _counts(4)
    moved, valid = undone(counts, _shifts(counts))
    smooth = ndimage.gaussian_filter(moved[0].numpy(), 2.0)
    y_px, x_px = np.nonzero((ndimage.maximum_filter(smooth, 9) == smooth) & (smooth > 12))
    kind = np.zeros(len(x_px), np.uint8)
    sample = FrameSample(x_px.astype(float), y_px.astype(float), kind, moved, np.zeros(4), np.ones(4), valid)
    levels = measure_levels([sample], PANEL, PIXEL_SIZE_UM)
    assert levels.leukocytes > 300
    assert levels.nucleus_diameter_um == pytest.approx(7.0, abs=0.4)
    assert levels.level_50[1] == pytest.approx(24, abs=3)
    assert levels.level_log_sd[1] == pytest.approx(0.43, abs=0.05)
    assert levels.level_log_sd[2] == pytest.approx(0.36, abs=0.06)
    assert levels.centre_to_ring[2] < 1 < levels.centre_to_ring[0]
    assert levels.notes == ()
    quality = frame_quality(
        4, moved, sample.x_px, sample.y_px, kind, levels.background, levels.noise, _shifts(moved), PANEL, PIXEL_SIZE_UM
    )  # fmt: skip
    assert 0.4 < quality["channels"]["DAPI"]["focus"] < 0.7
    assert quality["covered_share"] == 0
