"""What hostile files, sloppy users and failing disks give: one clear error, before any work where it can be."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tifffile

from ctcnet.errors import CartridgeError, OutputError, SettingError
from ctcnet.scan.pipeline.cartridge_results import RESULT_FILES
from ctcnet.scan.pipeline.cartridge_scan import COMPLETE_FILE, clear_leftovers, completed_plan, is_complete
from ctcnet.scan.pipeline.output_folder import scan_output
from ctcnet.scan.pipeline.scan_run import DONE, FAILED, print_summary, result_names
from ctcnet.scan.pipeline.settings import ScanSettings, read_levels
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.scan.platform import platform_from_dict
from ctcnet.scan.readers.celltracks_record import recorded_event, run_sizes
from ctcnet.scan.readers.frame_grid import check_grid_size
from ctcnet.scan.readers.grey_image import grey_shape
from ctcnet.scan.readers.name_numbers import last_number
from ctcnet.scan.readers.ome_xml import parse_ome_xml
from ctcnet.scan.readers.opening import open_cartridge, wanted_layout

pytestmark = pytest.mark.integration

PLATFORM = {"name": "mine", "layout": "bzscanner"}


def _damage(path: Path, place: int = -20) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ["a"]),
        ("panel", 7),
        ("file_channels", "DAPI"),
        ("file_channels", [1, 2]),
        ("ignorable", "BF"),
        ("channel_names", ["a"]),
        ("channel_names", {"TRITC": 5}),
        ("pixel_size_um", "small"),
        ("pixel_size_um", float("nan")),
        ("bit_depth", 13),
        ("tiles_per_channel", -5),
        ("grid_rows", 48.5),
        ("overlap_x_px", -20),
        ("serpentine", "maybe"),
        ("rim_um", float("nan")),
        ("rim_um", -1),
        ("spillover", "x"),
        ("cut_offs", 3),
        ("cut_offs", [0, 3]),
        ("registration", {"largest_shift_um": "x"}),
        ("registration", {"least_correlation": float("nan")}),
    ],
)
def test_a_platform_with_an_impossible_value_is_refused_when_it_is_read(name, value):
    with pytest.raises(SettingError) as caught:
        platform_from_dict({**PLATFORM, name: value}, "mine.yaml")
    assert (next(iter(value)) if name == "registration" else name) in str(caught.value)
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        ("--layout", "celltrack"),
        ("--panel", ""),
        ("--platform", ""),
        ("--pattern", "{frame"),
        ("--layout", "axioscan", "--platform", "celltracks"),
        ("--blood-volume-ml", "nan"),
        ("--blood-volume-ml", "1e-9"),
    ],
)
def test_wrong_options_are_one_error_before_any_work(scan, tmp_path, options, capsys):
    assert scan(tmp_path / "cartridge", out=tmp_path / "out", options=options) == 2
    assert capsys.readouterr().err.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_out_is_checked_before_the_model_is_loaded(scan, tmp_path, capsys, monkeypatch):
    def load(*_):
        raise AssertionError("loaded")

    monkeypatch.setattr("ctcnet.cli.scan.load_predictor", load)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    for options in ((), ("--resume",), ("--overwrite",), ("--resume", "--overwrite")):
        assert scan(tmp_path / "cartridge", out=tmp_path / "out", options=options) == 2
        assert str(tmp_path / "out") in capsys.readouterr().err


def test_detection_settings_are_checked_before_any_work(scan, tmp_path, capsys):
    platform = tmp_path / "mine.yaml"
    platform.write_text('name: mine\nlayout: bzscanner\ndetection: {nucleus_snr: "high"}\n')
    assert scan(tmp_path / "cartridge", out=tmp_path / "out", options=("--platform", str(platform))) == 2
    assert "nucleus_snr" in capsys.readouterr().err


def test_a_link_to_itself_is_no_traceback(scan, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert scan(loop, out=tmp_path / "out") == 1
    assert scan(tmp_path / "cartridge", out=loop) == 2


def test_names_too_long_are_errors(scan, tmp_path):
    assert scan(tmp_path / "cartridge", out=tmp_path / ("x" * 300)) == 2
    assert scan(tmp_path / "cartridge", out=tmp_path / "out", model=tmp_path / ("x" * 300)) == 2


def test_a_cartridge_named_as_a_file_of_out_gets_another_folder(tmp_path):
    assert result_names([tmp_path / "summary.csv"]) == ["cartridge_summary.csv"]


def test_brackets_in_an_error_are_no_markup(capsys):
    done = {"status": DONE, "cartridge": "a", "ctc_events": 1, "ctc_interval_low": 0, "ctc_interval_high": 2}
    done |= {"for_review": 0, "unassigned": 0, "cells": 3, "frames": 1, "frames_missing": 0, "error": ""}
    print_summary([{**done, "warnings": "x"}, {"cartridge": "b", "status": FAILED, "error": "no [/batch] there"}])
    assert "[/batch]" in capsys.readouterr().out


def test_units_and_notes_that_are_damaged_are_made_again(tmp_path):
    work = WorkFolder(tmp_path / "work", {"a": 1})
    table = pa.table({"x_px": np.arange(300, dtype=np.float32)})
    for unit in range(5):
        work.write_unit(unit, table, [{"frame": 1}])
    files = [tmp_path / f"work/unit_{unit:05d}.arrow" for unit in range(5)]
    _damage(files[0])
    _damage(files[1], place=40)
    files[2].write_bytes(files[2].read_bytes()[:100])
    files[3].with_suffix(".sha256").write_bytes(b"\xff")
    assert [work.has_unit(unit) for unit in range(6)] == [False, False, False, False, True, False]
    work.write_unit(0, table, [{"frame": 1}])
    assert work.has_unit(0)
    note = tmp_path / "work/levels.json"
    work.write_note("levels", {"a": 1.5})
    for content in ("", "[]", "{}", note.read_text().replace("1.5", "1.6")):
        note.write_text(content)
        assert work.read_note("levels") is None


def test_records_that_are_no_mapping_are_damaged(tmp_path):
    WorkFolder(tmp_path / "work", {"a": 1})
    (tmp_path / "work/plan.json").write_text("[1]")
    with pytest.raises(OutputError, match="damaged"):
        WorkFolder(tmp_path / "work", {"a": 1})
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scan.json").write_text("[1]")
    with (
        pytest.raises(OutputError, match="damaged"),
        scan_output(tmp_path / "out", {"a": 1}, resume=True, overwrite=False),
    ):
        pass
    for content in ("", "[]", "{}", '{"plan": {}}', '{"plan": {}, "summary": {}, "files": 1}'):
        (tmp_path / COMPLETE_FILE).write_text(content)
        with pytest.raises(OutputError, match="damaged"):
            completed_plan(tmp_path)


def test_a_folder_that_lost_a_file_is_not_complete(tmp_path):
    for size, name in enumerate(RESULT_FILES):
        (tmp_path / name).write_text("x" * size)
    sizes = {name: size for size, name in enumerate(RESULT_FILES)}
    (tmp_path / COMPLETE_FILE).write_text(json.dumps({"plan": {}, "summary": {}, "files": sizes}))
    assert is_complete(tmp_path)
    (tmp_path / RESULT_FILES[3]).write_text("")  # as a crash of the machine can leave it
    assert not is_complete(tmp_path)
    (tmp_path / RESULT_FILES[3]).unlink()
    assert not is_complete(tmp_path)


def test_what_a_run_that_was_cut_off_left_behind_goes(tmp_path):
    for name in (".report.17.part.html", ".complete.json.part", "events.parquet"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".work").mkdir()
    clear_leftovers(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"events.parquet", ".work"}
    (tmp_path / COMPLETE_FILE).write_text(json.dumps({"plan": {}, "summary": {}, "files": {"events.parquet": 1}}))
    clear_leftovers(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"events.parquet", COMPLETE_FILE}


@pytest.mark.parametrize("which", ["cartridge", "model"])
def test_inputs_inside_out_are_never_overwritten(scan, rule_model, cartridge_source, tmp_path, which, capsys):
    out = tmp_path / "out"
    assert scan(cartridge_source, out=out) == 0
    cartridge, model = cartridge_source, rule_model
    if which == "cartridge":
        cartridge = Path(shutil.copytree(cartridge_source, out / "raw/night_1"))
    else:
        model = Path(shutil.copy(rule_model, out / "mine.onnx"))
    before = sorted(out.rglob("*"))
    assert scan(cartridge, out=out, model=model, options=("--overwrite",)) == 2
    assert "holds an input" in capsys.readouterr().err
    assert sorted(out.rglob("*")) == before


def test_the_summary_keeps_the_cartridges_of_earlier_runs(scan, cartridge_source, tmp_path):
    out = tmp_path / "out"
    names = ["first", "second"]
    for name in names:
        cartridge = Path(shutil.copytree(cartridge_source, tmp_path / name))
        assert scan(cartridge, out=out, options=("--resume",)) == 0
    with (out / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["cartridge"] for row in rows) == names
    assert {row["status"] for row in rows} == {DONE}


@pytest.mark.parametrize("entry", [5, [], {"background": 1, "scale": 10**400}, {"background": True, "scale": 1}])
def test_levels_that_are_no_counts(tmp_path, entry):
    path = tmp_path / "levels.json"
    path.write_text(json.dumps({"levels": {"DAPI": entry}}))
    with pytest.raises(SettingError):
        read_levels(path)


def test_a_blood_volume_that_is_none():
    for volume in (float("nan"), 0.0, -1.0, float("inf")):
        with pytest.raises(SettingError, match="blood"):
            ScanSettings("ab", "cpu", 1, volume)


def test_numbers_of_thousands_of_digits_in_a_record():
    digits = "9" * 5000
    run = {"numrows": "1", "numcols": digits, "camxsize": "10", "camysize": "10"}
    with pytest.raises(CartridgeError, match="numcols"):
        run_sizes(run, Path("a.xml"))
    assert recorded_event({"framenum": digits, "location": "(1,2)(3,4)", "assigned": "t"}) is None
    assert recorded_event({"framenum": "1", "location": f"({digits},2)(3,4)", "assigned": "t"}) is None


def test_grids_that_no_scanner_has(tmp_path):
    check_grid_size(2304, tmp_path)
    with pytest.raises(CartridgeError, match="too far apart"):
        check_grid_size(10**20, tmp_path)
    for name in ("DAPI", "AF488", "AF555", "AF647"):
        for column in ("000", "999999999"):
            pixels = np.zeros((40, 40), np.uint16)
            tifffile.imwrite(tmp_path / f"{name}-X{column}-Y000.tif", pixels, photometric="minisblack")
    with pytest.raises(CartridgeError, match="too far apart"):
        open_cartridge(tmp_path)


def test_a_date_is_no_number_of_a_frame():
    assert last_number("scan_12") == 12
    assert last_number("scan_20240131123456") is None


def test_a_jpeg_that_claims_to_be_huge_is_a_frame_error(tmp_path):
    from PIL import Image

    from ctcnet.errors import FrameError

    path = tmp_path / "Tile000001.jpg"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    start = content.find(b"\xff\xc0") + 5
    content[start : start + 4] = b"\xff\xdc\xff\xdc"
    path.write_bytes(bytes(content))
    with pytest.raises(FrameError, match="JPEG"):
        grey_shape(path)


def test_an_overlap_of_most_of_a_frame_and_a_rim_over_all_are_refused(cartridge, tmp_path):
    opened = open_cartridge(cartridge)
    content = {"name": "mine", "layout": "celltracks", "panel": "cellsearch4", "pixel_size_um": 0.64, "bit_depth": 12}
    content |= {"file_channels": ["CD45", "DNA", "CK", "marker1"], "serpentine": True}
    names = {"DNA": "DAPI", "CK-PE": "CK", "CD45-APC": "CD45", "FITC": "marker1"}
    for extra, message in (
        ({"overlap_x_px": opened.frame_width_px // 2 + 1}, "share"),
        ({"rim_um": 1000}, "rim"),
    ):
        file = tmp_path / "mine.json.yaml"
        file.write_text(json.dumps({**content, "channel_names": names, **extra}))
        with pytest.raises(CartridgeError, match=message):
            open_cartridge(cartridge, platform=file)


def test_layouts_asked_for_are_checked_without_a_cartridge():
    platform = platform_from_dict(PLATFORM)
    assert wanted_layout("OME-TIFF", None, None) == "ome_tiff"
    assert wanted_layout(None, platform, None) == "bzscanner"
    with pytest.raises(SettingError):
        wanted_layout(None, replace(platform, layout="nope"), None)


def _write_zarr(folder: Path, shape: tuple[int, ...]) -> None:
    (folder / "0").mkdir(parents=True)
    axes = [{"name": name} for name in "cyx"]
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": []}]}
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps({"multiscales": [multiscale]}))
    array = {"zarr_format": 2, "shape": shape, "chunks": [1, 32, 32], "dtype": "<u2", "compressor": None}
    (folder / "0/.zarray").write_text(json.dumps({**array, "fill_value": 0, "order": "C", "filters": None}))


def test_a_zarr_that_claims_to_be_huge_does_not_hang(tmp_path):
    pytest.importorskip("zarr")
    _write_zarr(tmp_path / "a.ome.zarr", (5, 2_000_000_000, 2_000_000_000))
    with pytest.raises(CartridgeError, match="impossible size"):
        open_cartridge(tmp_path / "a.ome.zarr")


def test_metadata_nested_without_end(tmp_path):
    _write_zarr(tmp_path / "a.ome.zarr", (3, 64, 64))
    (tmp_path / "a.ome.zarr/.zattrs").write_text("[" * 100_000)
    with pytest.raises(CartridgeError):
        open_cartridge(tmp_path / "a.ome.zarr")
    (tmp_path / "deep.yaml").write_text("[" * 20_000)
    with pytest.raises(SettingError):
        open_cartridge(tmp_path, platform=tmp_path / "deep.yaml")


def test_frames_too_small_for_a_cell_are_one_error(scan, tmp_path, capsys):
    folder = tmp_path / "small"
    folder.mkdir()
    panel = "name: three\nbit_depth: 12\nchannels:\n"
    for name, role in (("ck", "epithelial"), ("dapi", "nucleus"), ("cd45", "leukocyte")):
        panel += f"  - {{marker: {name}, role: {role}}}\n"
        tifffile.imwrite(folder / f"1_{name}.tif", np.full((8, 300), 100, np.uint16), photometric="minisblack")
    (tmp_path / "three.yaml").write_text(panel)
    options = ("--pattern", "{frame}_{channel}.tif", "--panel", str(tmp_path / "three.yaml"), "--pixel-size-um", "0.6")
    assert scan(folder, out=tmp_path / "out", options=options) == 1
    found = capsys.readouterr().err
    assert "too small" in found
    assert "Traceback" not in found


def test_ome_xml_in_an_encoding_that_does_not_exist():
    with pytest.raises(CartridgeError, match="malformed"):
        parse_ome_xml('<?xml version="1.0" encoding="nope"?><OME/>', Path("a.ome.tif"))
