"""Damaged cartridges: one clear error or a named flag, the other cartridges and frames scanned all the same."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from ctcnet.errors import OutputError, SettingError
from ctcnet.scan.pipeline.scan_run import result_names
from ctcnet.simulate.cartridge_writer import write_simulated_cartridge

pytestmark = pytest.mark.integration


def summary(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open() as stream:
        return list(csv.DictReader(stream))


def warnings_of(out: Path, name: str = "cartridge") -> dict[str, str]:
    content = json.loads((out / name / "quality.json").read_text())
    return {entry["flag"]: entry["message"] for entry in content["warnings"]}


def frame_file(cartridge: Path, number: int) -> Path:
    return next(path for path in cartridge.glob("*.tif") if path.stem.endswith(f"{number:03}"))


def test_an_empty_folder_fails_and_the_other_cartridge_is_scanned(scan, cartridge, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert scan(empty, cartridge, out=tmp_path / "out") == 1
    rows = summary(tmp_path / "out")
    assert [row["status"] for row in rows] == ["failed", "done"]
    assert "empty" in rows[0]["error"]
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_names_its_cartridge_once(scan, tmp_path, monkeypatch, capsys):
    def open_wrongly(path, **options):
        raise SettingError("is wrong", where="--levels")

    monkeypatch.chdir(tmp_path)
    Path("e").mkdir()
    assert scan(Path("e"), out=tmp_path / "out") == 1
    assert "error: e: is an empty folder" in capsys.readouterr().err
    monkeypatch.setattr("ctcnet.scan.readers.opening.open_cartridge", open_wrongly)
    assert scan(Path("e"), out=tmp_path / "other") == 1
    assert "error: e: --levels: is wrong" in capsys.readouterr().err


def test_a_missing_frame_reduces_the_area_and_is_said(scan, cartridge, tmp_path):
    assert scan(cartridge, out=tmp_path / "whole") == 0
    frame_file(cartridge, 2).unlink()
    assert scan(cartridge, out=tmp_path / "out") == 0
    assert summary(tmp_path / "out")[0]["frames_missing"] == "1"
    assert "2" in warnings_of(tmp_path / "out")["missing_frames"]
    areas = [
        json.loads((tmp_path / name / "cartridge/counts.json").read_text())["counted_area_mm2"]
        for name in ("whole", "out")
    ]
    assert areas[1] < areas[0]


@pytest.mark.parametrize("damage", ["truncated", "zero bytes", "other size", "other pages", "other depth"])
def test_a_damaged_frame_is_named_and_the_others_are_counted(scan, cartridge, tmp_path, damage):
    path = frame_file(cartridge, 4)
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "zero bytes":
        path.write_bytes(b"")
    else:
        pages = tifffile.imread(path)
        changed = {
            "other size": pages[:, :100],
            "other pages": pages[:2],
            "other depth": (pages // 257).astype(np.uint8),
        }
        tifffile.imwrite(path, changed[damage], photometric="minisblack", metadata=None)
    assert scan(cartridge, out=tmp_path / "out") == 0
    (row,) = summary(tmp_path / "out")
    assert (row["frames"], row["frames_missing"]) == ("5", "1")
    assert "unreadable_frame" in row["warnings"]
    events = pq.read_table(tmp_path / "out/cartridge/events.parquet")
    assert 4 not in set(events["frame"].to_pylist())
    assert set(events["frame"].to_pylist()) >= {1, 2, 3, 5}


def test_a_cartridge_without_a_readable_frame_is_no_count_of_zero(scan, tmp_path):
    folder = tmp_path / "slide"
    folder.mkdir()
    for frame in (1, 2):
        for marker in ("DAPI", "CK", "CD45", "marker1"):  # 16 bits, where the panel says 12
            tifffile.imwrite(folder / f"{frame}_{marker}.tif", np.full((240, 256), 50_000, np.uint16))
    options = ("--pattern", "{frame}_{channel}.tif", "--panel", "cellsearch4", "--pixel-size-um", "0.64")
    assert scan(folder, out=tmp_path / "out", options=options) == 1
    (row,) = summary(tmp_path / "out")
    assert row["status"] == "failed"
    assert "no frame that can be read" in row["error"]
    assert "1_" in row["error"]
    assert not list((tmp_path / "out").glob("slide/*"))


def test_events_beside_a_damaged_frame_are_not_lost(scan, cartridge, tmp_path):
    assert scan(cartridge, out=tmp_path / "whole") == 0
    frame_file(cartridge, 2).write_bytes(b"")
    assert scan(cartridge, out=tmp_path / "out") == 0

    left_um, right_um, lower_um = 256 * 0.64, 2 * 256 * 0.64, 224 * 0.64  # frame 2: upper row, middle column

    def cells(name: str) -> list[dict]:
        table = pq.read_table(tmp_path / name / "cartridge/events.parquet").to_pylist()
        return [row for row in table if row["kind"] == "cell" and row["frame"] != 2]

    def is_cut_by_the_hole(row: dict) -> bool:
        reach_um = row["diameter_um"] / 2 + 2
        beside = left_um - reach_um < row["x_um"] < right_um + reach_um
        return beside and row["y_um"] < lower_um + reach_um

    after = [(row["x_um"], row["y_um"]) for row in cells("out")]
    whole = [row for row in cells("whole") if not is_cut_by_the_hole(row)]
    assert len(whole) > 30
    lost = [row for row in whole if not any(np.hypot(row["x_um"] - x, row["y_um"] - y) < 1 for x, y in after)]
    assert not lost


def test_a_channel_that_the_model_needs_is_named(scan, cartridge, tmp_path, capsys):
    panel = tmp_path / "panel.yaml"
    panel.write_text(
        "name: no_ck\nbit_depth: 12\nchannels:\n  - {marker: DAPI, role: nucleus}\n"
        "  - {marker: PD-L1, role: target, fluorophore: CK-PE}\n  - {marker: CD45, role: leukocyte}\n"
        "  - {marker: marker1, role: target, fluorophore: FITC}\n"
    )
    assert scan(cartridge, out=tmp_path / "out", options=("--panel", str(panel))) == 1
    assert "CK" in summary(tmp_path / "out")[0]["error"]


def test_no_leukocytes_is_said_and_the_models_levels_are_used(scan, tmp_path):
    folder = blank_cartridge(tmp_path / "blank")
    assert scan(folder, out=tmp_path / "out") == 0
    flags = warnings_of(tmp_path / "out", "blank")
    assert "no_leukocytes" in flags
    assert "model_levels" in flags
    (row,) = summary(tmp_path / "out")
    assert (row["ctc_events"], row["cells"]) == ("0", "0")
    counts = json.loads((tmp_path / "out/blank/counts.json").read_text())
    assert counts["contains_ctc"]["interval"] == pytest.approx([0, 3.69], abs=0.01)


def blank_cartridge(folder: Path) -> Path:
    """Two CellTracks frames of background and noise."""
    return write_simulated_cartridge(
        folder, layout="celltracks", frames=2, nuclei_per_frame=0, debris_per_frame=0, seed=1, frame_size_px=(320, 288)
    )


def test_ten_thousand_cells_in_a_frame(scan, tmp_path):
    folder = tmp_path / "crowded"
    folder.mkdir()
    spots = np.zeros((1024, 1024), dtype=np.float32)
    spots[12:-12:10, 12:-12:10] = 1
    cells = gaussian_filter(spots, 2.0)
    cells /= cells.max()
    rng = np.random.default_rng(0)
    for dye, height in (("DAPI", 2000), ("AF488", 0), ("AF555", 30), ("AF647", 800)):
        pixels = 100 + height * cells + rng.normal(0, 3, cells.shape)
        tifffile.imwrite(folder / f"{dye}-X000-Y000.tif", pixels.round().clip(0).astype(np.uint16))
    assert scan(folder, out=tmp_path / "out") == 0
    assert int(summary(tmp_path / "out")[0]["cells"]) == pytest.approx((spots > 0).sum(), rel=0.02)


def test_two_scans_into_one_out(scan, cartridge, tmp_path, capsys):
    import fcntl

    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert scan(cartridge, out=out) == 2
    assert "another scan" in capsys.readouterr().err


def test_results_of_another_model_are_not_mixed(scan, cartridge, other_model, tmp_path, capsys):
    out = tmp_path / "out"
    assert scan(cartridge, out=out) == 0
    assert scan(cartridge, out=out, options=("--resume",), model=other_model) == 2
    assert "another model" in capsys.readouterr().err


def test_an_out_with_results_needs_resume_or_overwrite(scan, cartridge, tmp_path, capsys):
    out = tmp_path / "out"
    assert scan(cartridge, out=out) == 0
    assert scan(cartridge, out=out) == 2
    assert "--resume" in capsys.readouterr().err
    assert scan(cartridge, out=out, options=("--overwrite",)) == 0


def test_a_folder_of_other_things_is_not_overwritten(scan, cartridge, tmp_path):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert scan(cartridge, out=out, options=("--overwrite",)) == 2
    assert (out / "thesis.txt").read_text() == "years of work"


def test_out_inside_a_cartridge_is_refused(scan, cartridge):
    assert scan(cartridge, out=cartridge / "out") == 2
    assert not (cartridge / "out").exists()


def test_a_frame_that_is_a_link_to_itself_is_missing(scan, cartridge, tmp_path):
    path = frame_file(cartridge, 2)
    path.unlink()
    path.symlink_to(path.name)
    assert scan(cartridge, out=tmp_path / "out") == 0
    assert summary(tmp_path / "out")[0]["frames_missing"] == "1"


def test_letters_of_any_script_tell_cartridges_apart(tmp_path):
    paths = [tmp_path / name for name in ("Müller", "Möller", "患者 1", "患者 2", "a/b:c", ".hidden")]
    assert result_names(paths) == ["Müller", "Möller", "患者_1", "患者_2", "b_c", "hidden"]
    with pytest.raises(OutputError, match=r"x 1, .*x:1"):
        result_names([tmp_path / "x 1", tmp_path / "y", tmp_path / "x:1"])


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_too_little_memory_fails_one_cartridge_without_a_traceback(
    kind, scan, cartridge, tmp_path, monkeypatch, capsys
):
    def open_huge(path, **options):
        raise kind("Unable to allocate 900 TiB")

    monkeypatch.setattr("ctcnet.scan.readers.opening.open_cartridge", open_huge)
    assert scan(cartridge, out=tmp_path / "out") == 1
    assert "more memory than there is (Unable" in summary(tmp_path / "out")[0]["error"]
    assert "Traceback" not in capsys.readouterr().err


def test_two_cartridges_of_one_name_are_refused(scan, cartridge, tmp_path, capsys):
    twin = Path(shutil.copytree(cartridge, tmp_path / "elsewhere" / "cartridge"))
    assert scan(cartridge, twin, out=tmp_path / "out") == 2
    assert "one name" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--pixel-size-um", "0"), ("--blood-volume-ml", "-1"), ("--threads", "0")])
def test_settings_that_cannot_be(scan, cartridge, tmp_path, options):
    assert scan(cartridge, out=tmp_path / "out", options=options) == 2
    assert not (tmp_path / "out").exists()


def test_a_pixel_size_that_is_wrong_is_warned_of(scan, cartridge, tmp_path):
    assert scan(cartridge, out=tmp_path / "out", options=("--pixel-size-um", "1.6")) == 0
    assert {"wrong_pixel_size", "pixel_size"} & set(warnings_of(tmp_path / "out"))


def test_a_full_disk_is_one_error_and_resume_finishes_the_work(cartridge, rule_model, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "ctcnet", "scan", str(cartridge), "--model", str(rule_model), "-o", str(out)]
    words += ["--device", "cpu"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))

    full = subprocess.run(words, preexec_fn=limit, capture_output=True, text=True, env=os.environ)
    assert full.returncode == 1
    assert "could not be written" in full.stderr
    assert "Traceback" not in full.stderr
    again = subprocess.run([*words, "--resume"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert summary(out)[0]["status"] == "done"
