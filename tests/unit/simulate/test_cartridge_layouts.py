"""Files of simulated scanners, read back with other libraries: names, tags, records, and every count."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
import tifffile
import yaml
from PIL import Image

from ctcnet.errors import PanelError, SettingError
from ctcnet.panel import Channel, Panel, load_panel
from ctcnet.simulate.cartridge_truth import SCHEMA
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.layouts.celltracks import stretch
from ctcnet.simulate.layouts.layout import FileSettings, halved
from ctcnet.simulate.layouts.registry import LAYOUTS, find_layout

pytestmark = pytest.mark.unit


def _grid(name: str, height_px: int = 96, width_px: int = 128) -> FieldGrid:
    layout = find_layout(name)
    return FieldGrid(
        2,
        3,
        height_px,
        width_px,
        layout.pixel_size_um,
        layout.overlap_px,
        layout.overlap_px,
        layout.serpentine,
        layout.first_number,
    )


def _write(folder: Path, name: str, *, truth: list[dict] | None = None, **options) -> tuple[FileSettings, dict]:
    """Write random frames; the settings, and the counts by number of the frame."""
    layout = find_layout(name)
    grid = options.pop("grid", None) or _grid(name)
    panel = options.pop("panel", None) or load_panel(layout.panel)
    settings = FileSettings(
        folder,
        "demo",
        panel,
        grid,
        options.get("compression", "none"),
        options.get("stored_bits", layout.stored_bits[0]),
        options.get("jpeg", False),
    )
    rng = np.random.default_rng(1)
    frames = {}
    writer = layout.open_writer(settings)
    for place in grid.scan_order():
        shape = (len(panel.channels), grid.frame_height_px, grid.frame_width_px)
        frames[place.number] = rng.integers(0, panel.full_scale + 1, shape).astype(np.uint16)
        writer.write(place, frames[place.number])
    writer.finish(pa.Table.from_pylist(truth or [], schema=SCHEMA))
    return settings, frames


def _counts(stored: np.ndarray, lower: int, upper: int, full_scale: int) -> np.ndarray:
    return np.rint(lower + stored.astype(float) / full_scale * (upper - lower))


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate"])
@pytest.mark.parametrize("bits", [12, 16])
def test_celltracks_counts_come_back_from_the_tags(tmp_path: Path, compression: str, bits: int) -> None:
    _, frames = _write(tmp_path, "celltracks", compression=compression, stored_bits=bits)
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == [f"demo_{n:03d}.tif" for n in range(1, 7)]
    for number, counts in frames.items():
        with tifffile.TiffFile(tmp_path / f"demo_{number:03d}.tif") as tif:
            assert len(tif.pages) == 4
            for page, channel in zip(tif.pages, (2, 0, 1, 3), strict=True):  # CD45, DNA, CK, marker 1
                stored = page.asarray()
                assert stored.dtype == np.uint16
                assert stored.max() == 2**bits - 1
                lower, upper = page.tags[755].value, page.tags[756].value
                assert np.array_equal(_counts(stored, lower, upper, 2**bits - 1), counts[channel])


def test_celltracks_in_8_bits_is_within_half_a_step(tmp_path: Path) -> None:
    _, frames = _write(tmp_path, "celltracks", stored_bits=8)
    with tifffile.TiffFile(tmp_path / "demo_001.tif") as tif:
        page = tif.pages[0]
        stored = page.asarray()
        assert stored.dtype == np.uint8
        lower, upper = page.tags[755].value, page.tags[756].value
    assert np.abs(_counts(stored, lower, upper, 255) - frames[1][2]).max() <= (upper - lower) / 255 / 2 + 1


def test_a_page_of_one_value_can_be_stretched() -> None:
    stored, lower, upper = stretch(np.full((4, 4), 77, np.uint16), 65535)
    assert np.array_equal(_counts(stored, lower, upper, 65535), np.full((4, 4), 77))


def test_celltracks_xml_names_pages_grid_and_events(tmp_path: Path) -> None:
    base = dict.fromkeys(SCHEMA.names) | {"role": "event", "diameter_um": 12.8, "members": 1}
    truth = [
        base | {"class": "ctc", "frame": 4, "x_px": 40.0, "y_px": 20.0, "ck_level": 9.0},
        base | {"class": "debris", "frame": 1, "x_px": 50.0, "y_px": 60.0, "ck_level": 4.0},
        base | {"class": "ctc", "frame": 1, "x_px": 10.0, "y_px": 10.0, "ck_level": 1.0},
        base | {"class": "leukocyte", "frame": 1, "x_px": 10.0, "y_px": 10.0, "ck_level": 9.0},
    ]
    _write(tmp_path, "celltracks", truth=truth)
    root = ElementTree.parse(tmp_path / "demo.xml").getroot()
    assert [e.text for e in root.findall("test_filters/record/filtername")] == ["CD45-APC", "DNA", "CK-PE", "FITC"]
    run = {key: root.findtext(f"runs/record/{key}") for key in ("numrows", "numcols", "camxsize", "camysize")}
    assert run == {"numrows": "2", "numcols": "3", "camxsize": "128", "camysize": "96"}
    events = [{child.tag: child.text for child in record} for record in root.findall("events/record")]
    # frame 4 is the last of the second row: column 2, row 1; the box reaches 13 px from the centre
    assert events == [
        {"rid": "1", "framenum": "4", "numselected": "1", "assigned": "true", "location": "(283,103)(309,129)"},
        {"rid": "2", "framenum": "1", "numselected": "1", "assigned": "false", "location": "(37,47)(63,73)"},
    ]


def test_celltracks_takes_no_more_than_12_bits(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="12-bit"):
        _write(tmp_path, "celltracks", panel=load_panel("hdsca4"))


def test_bzscanner_numbers_run_through_the_channels(tmp_path: Path) -> None:
    _, frames = _write(tmp_path, "bzscanner", compression="lzw")
    assert len(list(tmp_path.glob("Tile*.tif"))) == 30
    for number, counts in frames.items():
        for channel in range(5):
            stored = tifffile.imread(tmp_path / f"Tile{number + 6 * channel:06d}.tif")
            assert np.array_equal(stored, counts[channel])
    lines = dict(line.split("=") for line in (tmp_path / "slideinfo.txt").read_text().splitlines())
    assert (lines["TILEROWS"], lines["TILECOLS"]) == ("2", "3")
    assert float(lines["XSTEPSIZE"]) == pytest.approx(128 * 0.591, rel=1e-5)
    assert float(lines["YSTEPSIZE"]) == pytest.approx(96 * 0.591, rel=1e-5)
    assert lines["BF"].startswith("1,")


def test_bzscanner_jpeg_has_no_bright_field(tmp_path: Path) -> None:
    channels = tuple(c for c in load_panel("bzscanner").channels if c.marker != "BF")
    _write(tmp_path, "bzscanner", panel=Panel("jpeg", channels, 8, 0.591), jpeg=True, stored_bits=8)
    numbers = sorted(int(path.stem[4:]) for path in tmp_path.glob("Tile*.jpg"))
    assert numbers == [n + 6 * channel for channel in (0, 1, 2, 4) for n in range(1, 7)]
    with Image.open(tmp_path / "Tile000001.jpg") as image:
        assert image.mode == "L"
        assert image.size == (128, 96)
    assert "BF=0," in (tmp_path / "slideinfo.txt").read_text()


def test_bzscanner_refuses_channels_that_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="BZScanner"):
        _write(tmp_path, "bzscanner", panel=load_panel("ctc5"))


def test_axioscan_names_tell_column_and_row(tmp_path: Path) -> None:
    settings, frames = _write(tmp_path, "axioscan", grid=_grid("axioscan", 128, 128))
    for place in settings.grid.scan_order():
        for channel, name in enumerate(("DAPI", "AF488", "AF555", "AF647")):
            stored = tifffile.imread(tmp_path / f"{name}-X{place.column:03d}-Y{place.row:03d}.tif")
            assert np.array_equal(stored, frames[place.number][channel])
    text = (tmp_path / "scan.yaml").read_text()
    assert text.startswith("!<csi_images.csi_scans.Scan>")
    scan = yaml.load(text.replace("!<csi_images.csi_scans.Scan>", ""), _loader())
    assert int(scan["tile_width_px"] * scan["tile_overlap_proportion"]) == 20
    assert (scan["roi"][0]["tile_rows"], scan["roi"][0]["tile_cols"]) == (2, 3)
    assert [channel["name"] for channel in scan["channels"]] == ["DAPI", "AF488", "AF555", "AF647"]
    assert scan["pixel_size_um"] == 0.652


def _loader() -> type[yaml.SafeLoader]:
    class Loader(yaml.SafeLoader):
        """Reads tagged mappings as plain ones."""

    Loader.add_multi_constructor("csi_images.", lambda loader, tag, node: loader.construct_mapping(node, deep=True))
    return Loader


def test_axioscan_states_one_per_cent_at_full_size(tmp_path: Path) -> None:
    grid = FieldGrid(1, 1, 2040, 2040, 0.652, 20, 20)
    layout = find_layout("axioscan")
    settings = FileSettings(tmp_path, "demo", load_panel("axioscan"), grid, "none", 16, False)
    layout.open_writer(settings).finish(pa.Table.from_pylist([], schema=SCHEMA))
    assert "tile_overlap_proportion: 0.01\n" in (tmp_path / "scan.yaml").read_text()


def test_axioscan_refuses_frames_and_dyes_that_it_cannot_record(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="share of overlap"):
        _write(tmp_path, "axioscan", grid=_grid("axioscan", 96, 256))
    twice = Panel("twice", (Channel("a", "nucleus", "X"), Channel("b", "leukocyte", "X")), 16)
    with pytest.raises(PanelError, match="cannot name the files"):
        _write(tmp_path, "axioscan", panel=twice, grid=_grid("axioscan", 128, 128))


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate"])
def test_ome_tiff_is_tiled_pyramidal_and_says_where_it_lies(tmp_path: Path, compression: str) -> None:
    _, frames = _write(tmp_path, "ome-tiff", compression=compression)
    with tifffile.TiffFile(tmp_path / "frame_0004.ome.tif") as tif:
        assert tif.is_ome
        series = tif.series[0]
        assert series.axes == "CYX"
        assert np.array_equal(series.asarray(), frames[4])
        assert series.keyframe.is_tiled
        assert [level.shape for level in series.levels] == [(5, 96, 128), (5, 48, 64)]
        metadata = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [channel["Name"] for channel in metadata["Channel"]] == ["DAPI", "CK", "CD45", "CD66b", "CD61"]
    assert metadata["SignificantBits"] == 12
    assert metadata["PhysicalSizeX"] == 0.5
    assert {(p["PositionX"], p["PositionY"]) for p in metadata["Plane"]} == {(0.0, 48.0)}


@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_ome_zarr_is_read_by_zarr(tmp_path: Path, compression: str) -> None:
    zarr = pytest.importorskip("zarr", reason="the extra 'scan' is not installed")
    _, frames = _write(tmp_path, "ome-zarr", compression=compression, grid=_grid("ome-zarr", 97, 1100))
    group = zarr.open_group(tmp_path / "frame_0006.ome.zarr", mode="r")
    assert np.array_equal(group["0"][:], frames[6])
    assert group["1"].shape == (5, 48, 550)
    assert np.array_equal(group["1"][2], halved(frames[6][2]))
    multiscale = group.attrs["multiscales"][0]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [1.0, 0.5, 0.5]
    assert translation["translation"] == [0.0, 48.5, 1100.0]
    assert multiscale["datasets"][1]["coordinateTransformations"][0]["scale"] == [1.0, 1.0, 1.0]
    assert [channel["label"] for channel in group.attrs["omero"]["channels"]] == ["DAPI", "CK", "CD45", "CD66b", "CD61"]


def test_eight_bit_panels_are_stored_in_eight_bits(tmp_path: Path) -> None:
    panel = Panel("eight", load_panel("ctc5").channels, 8, 0.5)
    _write(tmp_path, "ome-tiff", panel=panel)
    assert tifffile.imread(tmp_path / "frame_0001.ome.tif").dtype == np.uint8
    (tmp_path / "zarr").mkdir()
    _write(tmp_path / "zarr", "ome-zarr", panel=panel)
    settings = json.loads((tmp_path / "zarr" / "frame_0001.ome.zarr" / "0" / ".zarray").read_text())
    assert settings["dtype"] == "|u1"


def test_halved_is_the_rounded_mean() -> None:
    page = np.array([[0, 1, 9], [2, 3, 9], [9, 9, 9]], dtype=np.uint8)
    assert halved(page).tolist() == [[2]]
    assert halved(np.full((4, 4), 65535, np.uint16)).tolist() == [[65535] * 2] * 2


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(SettingError, match="unknown") as error:
        find_layout("celltrack")
    assert error.value.expected == ", ".join(LAYOUTS)
