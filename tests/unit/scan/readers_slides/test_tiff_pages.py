"""LZW pages come out as they were written, by libtiff or, where that refuses, by tifffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctcnet.scan.readers import tiff_pages
from ctcnet.scan.readers.tiff_pages import opened_tiff, read_page

pytestmark = pytest.mark.unit


def written(
    path: Path, dtype: str, byteorder: str = "<", predictor: int | None = None, rowsperstrip: int | None = None
) -> np.ndarray:
    """Three pages of noise, (3, 41, 27)."""
    planes = np.random.default_rng(0).poisson(90, (3, 41, 27)).astype(dtype)
    shared: Any = {"compression": "lzw", "photometric": "minisblack", "contiguous": False}
    with tifffile.TiffWriter(path, byteorder=cast(Any, byteorder)) as tif:
        for plane in planes:
            tif.write(plane, predictor=predictor, rowsperstrip=rowsperstrip, **shared)
    return planes


def read(path: Path) -> np.ndarray:
    with opened_tiff(path) as pages:
        planes = [np.empty(page.shape, page.dtype) for page in pages]
        for page, plane in zip(pages, planes, strict=True):
            read_page(page, plane)
    return np.stack(planes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["uint8", "uint16"]),
    st.sampled_from("<>"),
    st.sampled_from([None, 2]),
    st.sampled_from([None, 5]),
)
def test_pages_are_those_written(
    tmp_path: Path, dtype: str, byteorder: str, predictor: int | None, rowsperstrip: int | None
) -> None:
    planes = written(tmp_path / "frame.tif", dtype, byteorder, predictor, rowsperstrip)
    np.testing.assert_array_equal(read(tmp_path / "frame.tif"), planes)


def test_pages_that_libtiff_refuses_are_read_by_tifffile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = written(tmp_path / "frame.tif", "uint16")
    asked: list[int] = []

    def refuse(content: bytes, index: int) -> np.ndarray:
        asked.append(index)
        raise imagecodecs.TiffError("no")

    monkeypatch.setattr(tiff_pages.imagecodecs, "tiff_decode", refuse)
    np.testing.assert_array_equal(read(tmp_path / "frame.tif"), planes)
    assert asked == [0, 1, 2]
