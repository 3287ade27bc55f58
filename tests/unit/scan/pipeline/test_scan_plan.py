"""What decides the results of a scan."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ctcnet.panel import load_panel
from ctcnet.scan.cartridge import Cartridge, Frame
from ctcnet.scan.pipeline.settings import ScanSettings, files_modified, files_there, plan_of
from ctcnet.scan.platform import load_platform

pytestmark = pytest.mark.unit


@pytest.fixture
def cartridge(tmp_path: Path) -> Cartridge:
    for name in ("1.tif", "2.tif"):
        (tmp_path / name).write_bytes(b"pixels")
    frames = Frame(1, 0, 0, 0.0, 0.0), Frame(2, 0, 1, 100.0, 0.0)
    return Cartridge(
        "c", tmp_path, "folder", "folder", load_panel("ctc5"), 0.64, 200, 200, frames, (), lambda _: np.zeros(0)
    )  # fmt: skip


def _plan(cartridge: Cartridge, card, **settings) -> dict:
    return plan_of(cartridge, load_platform("folder"), card, ScanSettings("ab", "cpu", 2, **settings))


def test_equal_jobs_have_equal_plans_whatever_the_threads(cartridge, two_channel_card):
    one = plan_of(cartridge, load_platform("folder"), two_channel_card, ScanSettings("ab", "cpu", 1))
    assert one == _plan(cartridge, two_channel_card)


def test_other_names_other_grid_and_other_sizes_make_another_plan(cartridge, two_channel_card):
    plan = _plan(cartridge, two_channel_card)
    assert _plan(cartridge, two_channel_card, pattern="b_{frame}_{channel}.tif") != plan
    below = replace(cartridge, frames=(cartridge.frames[0], Frame(2, 1, 0, 0.0, 100.0)))
    assert _plan(below, two_channel_card) != plan
    (cartridge.path / "2.tif").write_bytes(b"more pixels")
    assert _plan(cartridge, two_channel_card) != plan


def test_a_file_replaced_by_one_of_the_same_size_is_noticed_in_unfinished_work_only(cartridge, two_channel_card):
    plan, times = _plan(cartridge, two_channel_card), files_modified(cartridge)
    file = cartridge.path / "2.tif"
    file.write_bytes(b"others")
    os.utime(file, ns=(1, 1))
    assert files_modified(cartridge) != times
    assert _plan(cartridge, two_channel_card) == plan


def test_the_other_files_of_a_set_are_watched_where_one_of_them_is_given(cartridge, two_channel_card):
    first, second = (cartridge.path / name for name in ("1.tif", "2.tif"))
    (cartridge.path / "other.tif").write_bytes(b"of no set")
    given = replace(cartridge, path=first, files=(first, second, cartridge.path / "missing.tif"))
    assert files_there(given).keys() == {first, second}
    plan, times = _plan(given, two_channel_card), files_modified(given)
    os.utime(second, ns=(1, 1))
    assert files_modified(given) != times
    second.write_bytes(b"more pixels")
    assert _plan(given, two_channel_card) != plan
