"""Parts of TIFF pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctcnet.errors import FrameError
from ctcnet.scan.readers import tiff_region
from ctcnet.scan.readers.lazy_image import Region
from ctcnet.scan.readers.tiff_region import open_pages, read_page_region

pytestmark = pytest.mark.unit
STORAGES = {
    "plain": {},
    "big_endian": {"byteorder": ">"},
    "strips": {"rowsperstrip": 13},
    "strips_lzw": {"rowsperstrip": 13, "compression": "lzw", "predictor": True},
    "tiles": {"tile": (32, 48)},
    "tiles_deflate": {"tile": (64, 16), "compression": "zlib"},
    "tiles_big_endian": {"tile": (32, 32), "compression": "lzw", "byteorder": ">"},
}


def _write(path: Path, page: np.ndarray, byteorder: str = "<", **options) -> Path:
    tifffile.imwrite(path, page, byteorder=byteorder, photometric="minisblack", metadata=None, **options)
    return path


@pytest.mark.parametrize("storage", STORAGES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(st.integers(0, 110), st.integers(1, 111)), st.tuples(st.integers(0, 149), st.integers(1, 150)))
def test_regions_are_those_of_the_whole_page(
    tmp_path: Path, random_counts, storage: str, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    page = random_counts(111, 150)
    path = tmp_path / f"{storage}.tif"
    if not path.exists():
        _write(path, page, **STORAGES[storage])
    region = Region(rows[0], max(rows[0] + 1, rows[1]), columns[0], max(columns[0] + 1, columns[1]))
    found = read_page_region(path, open_pages(path, (0,))[0], region)
    assert found.dtype == np.uint16
    assert found.dtype.isnative
    assert np.array_equal(found, page[region.top : region.bottom, region.left : region.right])


def test_eight_bits(tmp_path: Path, random_counts) -> None:
    page = random_counts(20, 30).astype(np.uint8)
    path = _write(tmp_path / "a.tif", page)
    assert np.array_equal(read_page_region(path, open_pages(path, (0,))[0], Region(0, 20, 0, 30)), page)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_truncated_file_is_an_error_and_never_zeros(tmp_path: Path, random_counts, storage: str) -> None:
    path = _write(tmp_path / "a.tif", random_counts(111, 150), **STORAGES[storage])
    page = open_pages(path, (0,))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size - 400])
    with pytest.raises(FrameError, match="truncated"):
        read_page_region(path, page, Region(0, 111, 0, 150))


def test_a_damaged_tile_is_an_error(tmp_path: Path, random_counts) -> None:
    path = _write(tmp_path / "a.tif", random_counts(64, 64), tile=(32, 32), compression="zlib")
    page = open_pages(path, (0,))[0]
    content = bytearray(path.read_bytes())
    content[page.dataoffsets[1] : page.dataoffsets[1] + 40] = b"\xff" * 40
    path.write_bytes(content)
    assert read_page_region(path, page, Region(0, 32, 0, 32)).shape == (32, 32)  # another tile is still read
    with pytest.raises(FrameError, match="cannot be read as TIFF"):
        read_page_region(path, page, Region(0, 32, 0, 64))


def test_a_tile_that_is_not_stored_is_an_error(tmp_path: Path, random_counts) -> None:
    path = _write(tmp_path / "a.tif", random_counts(64, 64), tile=(32, 32))
    page = open_pages(path, (0,))[0]
    page.databytecounts = (*page.databytecounts[:3], 0)
    with pytest.raises(FrameError, match="tile or strip without pixels"):
        read_page_region(path, page, Region(0, 64, 0, 64))


def test_a_page_smaller_than_stated(tmp_path: Path, random_counts) -> None:
    path = _write(tmp_path / "a.tif", random_counts(20, 30))
    with pytest.raises(FrameError, match="smaller than its metadata say") as error:
        read_page_region(path, open_pages(path, (0,))[0], Region(0, 20, 0, 31))
    assert "30 x 20 px" in str(error.value)


def test_strips_that_are_too_large(tmp_path: Path, random_counts, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "a.tif", random_counts(64, 64), compression="zlib", rowsperstrip=64)
    monkeypatch.setattr(tiff_region, "LARGEST_SEGMENT_BYTES", 8000)
    with pytest.raises(FrameError, match="too large to be read in part") as error:
        read_page_region(path, open_pages(path, (0,))[0], Region(0, 8, 0, 8))
    assert "512 x 512" in str(error.value)


def test_files_that_hold_no_such_page(tmp_path: Path, random_counts, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FrameError, match="no such file"):
        open_pages(tmp_path / "absent.tif", (0,))[0]
    (tmp_path / "empty.tif").touch()
    with pytest.raises(FrameError, match="zero bytes"):
        open_pages(tmp_path / "empty.tif", (0,))[0]
    (tmp_path / "other.tif").write_bytes(b"no image at all")
    with pytest.raises(FrameError, match="cannot be read as TIFF"):
        open_pages(tmp_path / "other.tif", (0,))[0]
    path = _write(tmp_path / "one.tif", random_counts(8, 8))
    with pytest.raises(FrameError, match="too few pages"):
        open_pages(path, (1,))[0]
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(FrameError, match="display colours"):
        open_pages(tmp_path / "rgb.tif", (0,))[0]
    assert not caplog.records
