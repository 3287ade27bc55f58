"""`ctcnet simulate cartridge` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctcnet.cli import main

pytestmark = pytest.mark.unit

_SMALL = ["--frames", "2", "--nuclei-per-frame", "8", "--seed", "1", "--frame-size-px", "256x250"]


def test_writes_a_cartridge_and_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c"
    words = ["simulate", "cartridge", str(out), "--layout", "ome-tiff", *_SMALL, "--ctc", "1"]
    shift = ["--channel-shift", "CK=4.5,-2@2", "--channel-shift", "CD45=1,0"]
    assert main([*words, *shift, "--compression", "lzw", "--debris-per-frame", "1"]) == 0
    printed = capsys.readouterr().out
    assert "2 simulated frames" in printed
    assert "truth.parquet" in printed
    record = json.loads((out / "simulation.json").read_text())
    assert record["grid"]["frame_width_px"] == 256
    assert record["grid"]["frame_height_px"] == 250
    assert [(s["marker"], s["x_px"], s["y_px"], s["frames"]) for s in record["channel_shifts"]] == [
        ("CK", 4.5, -2.0, [2]),
        ("CD45", 1.0, 0.0, []),
    ]


def test_says_where_a_cluster_cannot_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", "cartridge", str(tmp_path / "c"), "--layout", "bzscanner", *_SMALL, "--jpeg"]
    assert main([*words, "--clusters-platelet", "1"]) == 0
    assert "no channel shows platelets" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--frame-size-px", "256"],
        ["--channel-shift", "CK"],
        ["--channel-shift", "CK=1"],
        ["--channel-shift", "=1,2"],
        ["--channel-shift", "CK=1,nan"],
        ["--channel-shift", "CK=1,2@a"],
    ],
)
def test_malformed_words_are_refused(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "cartridge", str(tmp_path / "c"), "--layout", "ome-tiff", *_SMALL, *words]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "is not of the form" in capsys.readouterr().err


def test_a_bad_setting_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "cartridge", str(tmp_path / "c"), "--layout", "nowhere", *_SMALL]) == 2
    error = capsys.readouterr().err
    assert "layout" in error
    assert "celltracks" in error
    assert "Traceback" not in error
