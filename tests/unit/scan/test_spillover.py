"""Spectral spillover: undone by a matrix, estimated from single-stain images."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ctcnet.cli import spillover as verb
from ctcnet.errors import CtcnetError, OutputError, SettingError, StatisticsError
from ctcnet.panel import Channel, Panel
from ctcnet.scan.platform import Platform
from ctcnet.scan.preprocess.spillover import unmixing_matrix
from ctcnet.scan.preprocess.spillover_estimate import estimate_spillover, spillover_yaml

pytestmark = pytest.mark.unit
PANEL = Panel(
    "three",
    (Channel("DAPI", "nucleus"), Channel("CK", "epithelial", "PE"), Channel("CD45", "leukocyte", "APC")),
    12,
)
MIXING = np.array([[1, 0, 0], [0, 1, 0.004], [0, 0.021, 1]])  # CK shows in CD45 with 2.1 %, CD45 in CK with 0.4 %


def _platform(spillover: object, **changes) -> Platform:
    return Platform("p", "folder", spillover=spillover, **changes)  # type: ignore[arg-type]


@cache
def _stained(source: int, seed: int, level: float = 2500, background: float = 60, size: int = 500) -> np.ndarray:
    """Counts of about 60 cells in which one marker is stained, in uneven light, with noise, as 12-bit integers."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    stain = np.zeros((size, size))
    for cy in range(35, size - 20, 60):
        for cx in range(35, size - 20, 60):
            radius, height = rng.uniform(6, 9), level * rng.uniform(0.4, 1.2)
            stain += height * (np.hypot(y - cy + rng.normal(), x - cx + rng.normal()) < radius)
    stain = ndimage.gaussian_filter(stain, 1.0)
    signal = MIXING[:, source][:, None, None] * stain
    light = background * (1 + 0.3 * x / size)
    counts = signal + light
    return np.clip(np.round(counts + rng.normal(0, 1, counts.shape) * np.sqrt(9 + counts / 4)), 0, 4095).astype(
        np.uint16
    )


def test_without_spillover_nothing_changes() -> None:
    assert np.array_equal(unmixing_matrix(_platform({}), PANEL), np.eye(3))


def test_the_matrix_undoes_the_mixing() -> None:
    matrix = unmixing_matrix(_platform({"ck": {"CD45": 0.021}, "APC": {"PE": 0.004}}), PANEL)
    assert matrix.dtype == np.float64
    assert np.allclose(matrix @ MIXING, np.eye(3), atol=1e-12)


@given(st.lists(st.floats(0, 0.3), min_size=6, max_size=6))
def test_any_moderate_mixing_is_undone(shares: list[float]) -> None:
    markers, mixing, spillover = PANEL.markers, np.eye(3), {}
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    for (source, target), share in zip(pairs, shares, strict=True):
        mixing[target, source] = share
        spillover.setdefault(markers[source], {})[markers[target]] = share
    assert np.allclose(unmixing_matrix(_platform(spillover), PANEL) @ mixing, np.eye(3), atol=1e-9)


def test_names_of_the_scanner_and_channels_that_may_be_absent() -> None:
    platform = _platform(
        {"TRITC": {"CY5": 0.1, "BF": 0.2}}, channel_names={"TRITC": "CK", "CY5": "CD45"}, ignorable=("BF",)
    )
    matrix = unmixing_matrix(platform, PANEL)
    assert matrix[2, 1] == pytest.approx(-0.1)
    assert matrix[0, 1] == 0


@pytest.mark.parametrize(
    ("spillover", "message"),
    [
        ({"HER2": {"CK": 0.1}}, "does not have"),
        ({"CK": {"HER2": 0.1}}, "does not have"),
        ({"CK": {"CD45": -0.1}}, "impossible share"),
        ({"CK": {"CD45": 1.0}}, "impossible share"),
        ({"CK": {"CD45": "2 %"}}, "impossible share"),
        ({"CK": {"CD45": True}}, "impossible share"),
        ({"CK": {"CD45": float("nan")}}, "impossible share"),
        ({"CK": {"CK": 0.1}}, "to itself"),
        ({"CK": {"CD45": 0.1}, "PE": {"CD45": 0.1}}, "twice"),
        ({"CK": 0.1}, "no mapping"),
        (["CK"], "no mapping"),
        ({"CK": {"CD45": 0.95}, "CD45": {"CK": 0.96}}, "too alike"),
    ],
)
def test_what_is_refused(spillover: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        unmixing_matrix(_platform(spillover), PANEL)


def test_a_known_mixing_is_found_again() -> None:
    found = estimate_spillover({"CD45": [_stained(2, 1)], "ck": [_stained(1, 2), _stained(1, 7)]}, PANEL)
    assert list(found) == ["CK", "CD45"]
    assert found["CK"]["CD45"].share == pytest.approx(0.021, rel=0.02)
    assert found["CK"]["CD45"].cells > 80
    for source, target in ((1, 0), (1, 2), (2, 0), (2, 1)):
        estimate = found[PANEL.markers[source]][PANEL.markers[target]]
        assert estimate.low <= estimate.share <= estimate.high
        assert abs(estimate.share - MIXING[target, source]) < 0.0008
    assert found["CK"]["CD45"].is_above_zero
    assert found["CD45"]["CK"].is_above_zero
    assert not found["CK"]["DAPI"].low > 0.0005


def test_the_interval_covers_as_often_as_it_says() -> None:
    covered = []
    for seed in range(10):
        estimate = estimate_spillover({"CK": [_stained(1, 100 + seed, size=300)]}, PANEL)["CK"]["CD45"]
        covered.append(estimate.low <= 0.021 <= estimate.high)
    assert sum(covered) >= 8


def test_eight_bit_counts_with_a_background_cut_at_zero() -> None:
    image = np.round(_stained(1, 5, background=0, level=3000) / 16.0).astype(np.uint8)
    panel = Panel("three", PANEL.channels, 8)
    assert estimate_spillover({"CK": [image]}, panel)["CK"]["CD45"].share == pytest.approx(0.021, rel=0.15)


def test_saturated_cells_and_other_objects_do_not_count() -> None:
    image = _stained(1, 7).astype(float)
    image[1, 60:150] *= 4  # saturates two rows of cells: they would show too large a share
    image[2, 300:310, 30:460] += 900  # a fibre in CD45
    image = np.clip(image, 0, 4095).astype(np.uint16)
    estimate = estimate_spillover({"CK": [image]}, PANEL)["CK"]["CD45"]
    assert estimate.share == pytest.approx(0.021, rel=0.05)
    assert estimate.cells < 60


def test_images_that_cannot_serve() -> None:
    with pytest.raises(SettingError, match="unknown markers: HER2"):
        estimate_spillover({"HER2": [_stained(1, 2)]}, PANEL)
    with pytest.raises(SettingError, match="another number of channels"):
        estimate_spillover({"CK": [_stained(1, 2)[:2]]}, PANEL)
    with pytest.raises(StatisticsError, match="too few bright cells"):
        estimate_spillover({"CD45": [_stained(1, 2)]}, PANEL)
    with pytest.raises(StatisticsError, match="too few bright cells"):
        estimate_spillover({"CK": [np.zeros((3, 50, 50), np.uint16)]}, PANEL)


def test_the_text_is_a_mapping_that_a_platform_takes() -> None:
    found = estimate_spillover({"CK": [_stained(1, 2)], "DAPI": [_stained(0, 2)]}, PANEL)
    content = yaml.safe_load(spillover_yaml(found))
    assert set(content) == {"spillover"}
    assert content["spillover"]["CK"]["CD45"] == pytest.approx(0.021, abs=0.001)
    assert "none found" in spillover_yaml(found)
    unmixing_matrix(_platform(content["spillover"]), PANEL)


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verb.add_parser(parser.add_subparsers())
    args = parser.parse_args(["spillover", *words])
    return args.run(args)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel = tmp_path / "three.yaml"
    panel.write_text(yaml.safe_dump(PANEL.to_dict()))
    image = tmp_path / "ck=1.tif"
    tifffile.imwrite(image, _stained(1, 2), photometric="minisblack")
    out = tmp_path / "spillover.yaml"
    assert _run("--panel", str(panel), f"ck={image}", "-o", str(out)) == 0
    assert yaml.safe_load(out.read_text())["spillover"]["CK"]["CD45"] == pytest.approx(0.021, abs=0.001)
    assert "CK in CD45: 0.02" in capsys.readouterr().out
    first = out.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        _run("--panel", str(panel), f"ck={image}", "-o", str(out))
    assert _run("--panel", str(panel), f"ck={image}", "-o", str(out), "--overwrite") == 0
    assert out.read_bytes() == first
    for word in ("image.tif", f"HER2={image}", "CK="):
        with pytest.raises(SettingError, match="stained marker"):
            _run("--panel", str(panel), word, "-o", str(tmp_path / "b.yaml"))
    with pytest.raises(CtcnetError, match="no such file"):
        _run("--panel", str(panel), "CK=absent.tif", "-o", str(tmp_path / "b.yaml"))
