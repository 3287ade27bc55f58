"""Warnings about whole cartridges."""

from __future__ import annotations

import copy

import pytest

from ctcnet.panel import Channel, Panel
from ctcnet.runtime.cartridge_atypicality import CartridgeScore
from ctcnet.scan.preprocess.quality_warnings import atypical_cartridge, cartridge_warnings

pytestmark = pytest.mark.unit

PANEL = Panel("p", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte")), 12, 0.64)


def _frames(count: int = 12) -> list[dict]:
    channel = {
        "focus": 0.5,
        "cell_level": 100.0,
        "background": 50.0,
        "noise": 3.0,
        "saturated_share": 0.0,
        "bright_share": 0.0,
        "dark_share": 0.0,
        "shift_px": [0.0, 0.0],
        "correlation_before": 0.8,
        "correlation_after": 0.8,
        "verdict": "aligned",
    }
    frame = {
        "cells": 400,
        "objects": 5,
        "clusters": 2,
        "cells_per_mm2": 700.0,
        "covered_share": 0.0,
        "registered": True,
        "reference": "CD45",
        "channels": {marker: dict(channel) for marker in PANEL.markers},
    }
    return [{"frame": number, **copy.deepcopy(frame)} for number in range(1, count + 1)]


def _flags(frames: list[dict]) -> list[str]:
    return [note.flag for note in cartridge_warnings(frames, PANEL)]


def test_a_good_cartridge_has_no_warning():
    assert _flags(_frames()) == []
    assert _flags([]) == []


def test_frames_out_of_focus_are_named_with_their_cause():
    frames = _frames()
    for frame in (frames[2], frames[7]):
        frame["channels"]["DAPI"]["focus"] = 0.3
    (note,) = cartridge_warnings(frames, PANEL)
    assert (note.flag, note.frame) == ("out_of_focus", None)
    assert "frames 3, 8 out of focus" in note.message
    assert "tilted" in note.message


def test_a_single_frame_carries_its_number():
    frames = _frames()
    frames[4]["channels"]["DAPI"]["focus"] = 0.3
    (note,) = cartridge_warnings(frames, PANEL)
    assert note.frame == 5
    assert "frame 5 out of focus" in note.message


def test_many_frames_are_counted_not_listed():
    frames = _frames(40)
    for frame in frames[:15]:
        frame["channels"]["CK"]["saturated_share"] = 0.02
    (note,) = cartridge_warnings(frames, PANEL)
    assert "frames 1, 2, 3, 4, 5, 6, 7, 8 and 7 more" in note.message


def test_a_cartridge_out_of_focus_is_named_once():
    frames = _frames()
    for frame in frames:
        frame["channels"]["DAPI"]["focus"] = 0.2
    frames[0]["channels"]["DAPI"]["focus"] = None
    (note,) = cartridge_warnings(frames, PANEL)
    assert note.message.startswith("the cartridge is out of focus")


def test_saturation_names_channel_and_exposure():
    frames = _frames()
    frames[1]["channels"]["CK"]["saturated_share"] = 0.02
    (note,) = cartridge_warnings(frames, PANEL)
    assert (note.flag, note.frame) == ("saturated", 2)
    assert "CK" in note.message
    assert "2.0%" in note.message
    assert "exposure" in note.message


def test_a_bubble_is_named():
    frames = _frames()
    frames[3]["covered_share"] = 0.25
    (note,) = cartridge_warnings(frames, PANEL)
    assert note.flag == "covered"
    assert "25% of frame 4" in note.message
    assert "bubble" in note.message


def test_frames_whose_cells_cannot_be_told_apart_are_named():
    frames = _frames()
    for number in (2, 5):
        frames[number]["too_crowded"] = True
    (note,) = [note for note in cartridge_warnings(frames, PANEL) if note.flag == "too_crowded"]
    assert f"frames {frames[2]['frame']}, {frames[5]['frame']}" in note.message
    assert "too low" in note.message
    for frame in frames:
        frame["cells"] = frame["objects"] = 0
    assert "too_crowded" in _flags(frames)


def test_empty_crowded_and_sparse_frames_are_named():
    frames = _frames()
    frames[0]["cells"], frames[1]["cells"], frames[2]["cells"] = 0, 5000, 30
    notes = cartridge_warnings(frames, PANEL)
    assert [(note.flag, note.frame) for note in notes] == [("empty_frames", 1), ("density", 2), ("density", 3)]


def test_few_cells_everywhere_are_no_outliers():
    frames = _frames()
    for frame in frames:
        frame["cells"] = 6
    frames[0]["cells"], frames[1]["cells"] = 0, 40
    assert _flags(frames) == []


def test_a_cartridge_without_events_is_said_to_be_empty():
    frames = _frames()
    for frame in frames:
        frame["cells"] = frame["objects"] = 0
    (note,) = cartridge_warnings(frames, PANEL)
    assert note.flag == "no_events"


@pytest.mark.parametrize(("last", "warned"), [(100.0, False), (75.0, False), (55.0, True), (180.0, True)])
def test_drift_along_the_cartridge(last, warned):
    frames = _frames()
    for position, frame in enumerate(frames):
        frame["channels"]["CD45"]["cell_level"] = 100 + (last - 100) * position / 11
    notes = cartridge_warnings(frames[::-1], PANEL)  # the order of the list does not matter
    assert [note.flag for note in notes] == (["drift"] if warned else [])
    assert all("CD45 of the cells changes" in note.message for note in notes)


def test_epithelial_drift_is_the_cells_not_the_stains():
    frames = _frames()
    for frame in frames[6:]:
        frame["channels"]["CK"]["cell_level"] = 900.0
    assert _flags(frames) == []


def test_unregistered_frames_are_named():
    frames = _frames()
    frames[6]["channels"]["DAPI"]["verdict"] = "no_shift_fits"
    frames[6]["channels"]["DAPI"]["correlation_after"] = 0.03
    (note,) = cartridge_warnings(frames, PANEL)
    assert (note.flag, note.frame) == ("unregistered", 7)
    assert "DAPI does not belong to the other channels in frame 7" in note.message


def test_a_channel_that_correlates_elsewhere_and_not_here_is_unregistered():
    frames = _frames()
    frames[6]["channels"]["CK"].update(correlation_after=0.04, verdict="too_little_signal")
    assert _flags(frames) == ["unregistered"]
    frames[6]["cells"] = 3  # too few cells to tell
    assert "unregistered" not in _flags(frames)


def test_a_channel_that_correlates_nowhere_is_no_fault():
    frames = _frames()
    for frame in frames:
        frame["channels"]["CK"].update(correlation_after=0.04, verdict="too_little_signal")
    assert _flags(frames) == []


def test_an_empty_cartridge_may_be_an_overexposed_one():
    frames = _frames()
    for frame in frames:
        frame |= {"cells": 0, "objects": 0, "clusters": 0}
        frame["channels"]["DAPI"]["saturated_share"] = 1.0
    assert _flags(frames) == ["no_events", "saturated"]


@pytest.mark.parametrize("of_leukocytes", [True, False])
def test_an_atypical_cartridge_is_named_with_its_causes(of_leukocytes: bool):
    (note,) = atypical_cartridge(CartridgeScore(3.21, 900, of_leukocytes), PANEL)
    assert (note.flag, note.frame) == ("atypical_cartridge", None)
    assert "3.2" in note.message
    assert "900 cells called leukocyte" in note.message or not of_leukocytes
    for cause in (
        "swapped or missing",
        "DAPI (nucleus), CK (epithelial)",
        "pixel size",
        "stain failed",
        "another kind",
    ):
        assert cause in note.message


@pytest.mark.parametrize("score", [None, CartridgeScore(float("nan"), 100, False), CartridgeScore(1.0, 900, True)])
def test_a_cartridge_like_others_or_without_a_score_is_not(score):
    assert atypical_cartridge(score, PANEL) == []
