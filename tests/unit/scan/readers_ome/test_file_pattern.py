"""Patterns of file names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.errors import SettingError
from ctcnet.scan.readers.file_pattern import FilePattern

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("pattern", "name", "numbers", "channel"),
    [
        ("{frame}_{channel}.tif", "0012_AF_488.tif", {"frame": 12}, "AF_488"),
        ("s1 r{row}c{column} ({channel}).png", "s1 r02c10 (CK).png", {"row": 2, "column": 10}, "CK"),
        ("{channel}-X{x}-Y{y}.tif", "AF-555-X001-Y010.tif", {"x": 1, "y": 10}, "AF-555"),
        ("img+{frame}.tif", "img+7.tif", {"frame": 7}, None),
    ],
)
def test_names_that_fit(tmp_path: Path, pattern: str, name: str, numbers: dict[str, int], channel: str | None) -> None:
    (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    (file,) = FilePattern(pattern).find(tmp_path)
    assert (file.path.name, file.numbers, file.channel) == (name, numbers, channel)


def test_text_stands_for_itself(tmp_path: Path) -> None:
    for name in ("a1xtif", "b1.tif", "a1.tif.bak", "a.tif", "a1.TIF"):
        (tmp_path / name).touch()
    assert FilePattern("a{frame}.tif").find(tmp_path) == []


def test_folders_in_a_pattern(tmp_path: Path) -> None:
    for channel in ("CK", "DAPI"):
        (tmp_path / channel).mkdir()
        (tmp_path / channel / "3.tif").touch()
    (tmp_path / "3.tif").touch()
    found = FilePattern("{channel}/{frame}.tif").find(tmp_path)
    assert [file.channel for file in found] == ["CK", "DAPI"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{frame}_{colour}.tif", "unknown placeholder"),
        ("{frame}_{}.tif", "unknown placeholder"),
        ("{frame}_{frame}.tif", "twice"),
        ("{frame}{channel}.tif", "nothing between"),
        ("{channel}.tif", "which frame"),
        ("{row}_{channel}.tif", "which frame"),
        ("{row}_{x}.tif", "which frame"),
        ("{row}_{column}_{x}_{y}.tif", "which frame"),
        ("{frame}_}.tif", "brace"),
        ("../{frame}.tif", "leaves the folder"),
        ("/data/{frame}.tif", "leaves the folder"),
        ("*.tif", "which frame"),
        ("", "which frame"),
    ],
)
def test_patterns_that_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        FilePattern(pattern)


@given(st.integers(0, 10**6), st.integers(0, 8), st.text("abcXY-+()[] ", min_size=1, max_size=8))
def test_a_name_that_is_written_is_read_again(frame: int, width: int, channel: str) -> None:
    pattern = FilePattern("[f]{frame}_{channel}_(1).tif")
    match = pattern._expression.fullmatch(f"[f]{frame:0{width}}_{channel}_(1).tif")
    assert match is not None
    assert (int(match["frame"]), match["channel"]) == (frame, channel)
