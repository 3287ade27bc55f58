"""Simulated cartridges as a whole: same bytes for the same seed, read back by the readers, bad arguments refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ctcnet.errors import OutputError, PanelError, SettingError
from ctcnet.panel import load_panel
from ctcnet.simulate.cartridge_writer import write_simulated_cartridge
from ctcnet.simulate.field_renderer import ChannelShift
from ctcnet.simulate.layouts.registry import LAYOUTS

pytestmark = pytest.mark.unit


def _write(out: Path, layout: str = "celltracks", **options: Any) -> Path:
    settings: dict[str, Any] = {
        "frames": 4,
        "nuclei_per_frame": 15,
        "seed": 1,
        "ctc": 2,
        "clusters_neutrophil": 1,
        "frame_size_px": (256, 256),
    }
    return write_simulated_cartridge(out, layout=layout, **(settings | options))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, second, other = (
        _digests(_write(tmp_path / name, "ome-tiff", seed=seed, frames=2))
        for name, seed in zip("abc", (7, 7, 8), strict=True)
    )
    assert first == second
    assert sorted(first) == ["frame_0001.ome.tif", "frame_0002.ome.tif", "simulation.json", "truth.parquet"]
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_the_readers_find_the_truth_in_the_files(tmp_path: Path, layout: str) -> None:
    opening = pytest.importorskip("ctcnet.scan.readers.opening", reason="the extra 'scan' is not installed")
    if layout == "ome-zarr":
        pytest.importorskip("zarr", reason="the extra 'scan' is not installed")
    out = _write(tmp_path / "c", layout)
    panel = load_panel(LAYOUTS[layout].panel)
    cartridge = opening.open_cartridge(out, panel=None if cartridge_names_panel(layout) else panel)
    assert cartridge.layout == layout.replace("-", "_")
    assert cartridge.panel.markers == panel.markers
    assert cartridge.pixel_size_um == pytest.approx(LAYOUTS[layout].pixel_size_um)
    assert not cartridge.missing
    frames = {frame.number: (index, frame) for index, frame in enumerate(cartridge.frames)}
    assert len(frames) == 4
    nucleus = cartridge.panel.roles.index("nucleus")
    bright = []
    for row in pq.read_table(out / "truth.parquet").to_pylist():
        index, frame = frames[row["frame"]]
        assert frame.x_um + row["x_px"] * cartridge.pixel_size_um == pytest.approx(row["x_um"], abs=0.01)
        assert frame.y_um + row["y_px"] * cartridge.pixel_size_um == pytest.approx(row["y_um"], abs=0.01)
        if row["class"] == "leukocyte" and row["role"] == "event":
            page = cartridge.read(index)[nucleus]
            x, y = (min(max(round(row[axis]), 0), 255) for axis in ("x_px", "y_px"))
            bright.append(page[y, x] > 1.5 * np.median(page))
    assert np.mean(bright) > 0.95


def cartridge_names_panel(layout: str) -> bool:
    """Whether the layout's platform has a panel of its own."""
    return not layout.startswith("ome-")


def test_jpeg_slides_are_8_bit(tmp_path: Path) -> None:
    opening = pytest.importorskip("ctcnet.scan.readers.opening", reason="the extra 'scan' is not installed")
    cartridge = opening.open_cartridge(_write(tmp_path / "c", "bzscanner", jpeg=True))
    assert cartridge.panel.bit_depth == 8
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "FITC")
    assert np.median(cartridge.read(0)[0]) == 0  # the background of DAPI is clipped, as on a real slide


def test_frames_of_a_larger_count_are_written_too(tmp_path: Path) -> None:
    out = _write(tmp_path / "c", frames=6, nuclei_per_frame=0, ctc=0, clusters_neutrophil=0)
    assert len(list(out.glob("simulated_*.tif"))) == 6
    assert pq.read_table(out / "truth.parquet").num_rows == 0


def test_the_record_says_that_it_is_simulated(tmp_path: Path) -> None:
    out = _write(tmp_path / "c", channel_shifts=[ChannelShift("CK", 5.0, -3.0, (2,))], compression="lzw")
    record = json.loads((out / "simulation.json").read_text())
    assert record["simulated"] is True
    assert record["seed"] == 1
    assert record["grid"]["rows"] * record["grid"]["columns"] == 4
    assert record["channel_shifts"] == [{"marker": "CK", "x_px": 5.0, "y_px": -3.0, "frames": [2]}]
    assert record["panel"]["name"] == "cellsearch4"


def test_shifted_frames_alone_differ(tmp_path: Path) -> None:
    plain = _digests(_write(tmp_path / "a"))
    shifted = _digests(_write(tmp_path / "b", channel_shifts=[ChannelShift("CD45", 5.0, 0.0, (2,))]))
    assert {name for name in plain if plain[name] != shifted[name]} == {"simulated_002.tif", "simulation.json"}


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"layout": "olympus"}, "layout"),
        ({"frames": 0}, "frames"),
        ({"nuclei_per_frame": -1}, "nuclei_per_frame"),
        ({"nuclei_per_frame": 5000}, "nuclei_per_frame"),
        ({"ctc": 100_000}, "ctc"),
        ({"clusters_platelet": 100_000}, "clusters_platelet"),
        ({"debris_per_frame": 1e6}, "debris_per_frame"),
        ({"ctc": -1}, "ctc"),
        ({"clusters_platelet": -2}, "clusters_platelet"),
        ({"debris_per_frame": float("nan")}, "debris_per_frame"),
        ({"seed": -1}, "seed"),
        ({"frame_size_px": (32, 256)}, "frame_size_px"),
        ({"pixel_size_um": 0.0}, "pixel_size_um"),
        ({"compression": "zip"}, "compression"),
        ({"layout": "ome-zarr", "compression": "lzw"}, "compression"),
        ({"bit_depth": 10}, "bit_depth"),
        ({"jpeg": True}, "jpeg"),
        ({"specks_per_mm2": -1.0}, "specks_per_mm2"),
        ({"difficulty": "brutal"}, "difficulty"),
        ({"channel_shifts": [ChannelShift("CD66b", 1.0, 1.0)]}, "channel_shift"),
        ({"channel_shifts": [ChannelShift("CK", 1.0, 1.0, (5,))]}, "channel_shift"),
        ({"frame_size_px": (80, 80), "frames": 1}, "nuclei_per_frame"),
    ],
)
def test_bad_arguments_are_refused_and_leave_nothing(tmp_path: Path, options: dict[str, Any], where: str) -> None:
    with pytest.raises(SettingError) as error:
        _write(tmp_path / "c", **options)
    assert error.value.where == where
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_panel_is_refused(tmp_path: Path) -> None:
    with pytest.raises((PanelError, SettingError), match="neither"):
        _write(tmp_path / "c", panel="ctc9")


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = _write(tmp_path / "c", nuclei_per_frame=1)
    with pytest.raises(OutputError, match="exists already"):
        _write(out)
    _write(out, nuclei_per_frame=2, overwrite=True)
    assert json.loads((out / "simulation.json").read_text())["nuclei_per_frame"] == 2
