"""Quality of single frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ctcnet.panel import Channel, Panel
from ctcnet.scan.platform import RegistrationSettings
from ctcnet.scan.preprocess.quality import covered_blocks, focus_per_um, frame_quality
from ctcnet.scan.preprocess.registration import measure_shifts

pytestmark = pytest.mark.unit

PIXEL_SIZE_UM = 0.64
PANEL = Panel("p", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte")), 12, 0.64)
BACKGROUND, NOISE = np.full(3, 50.0), np.full(3, 3.0)


def _quality(field, counts: torch.Tensor, kind: np.ndarray | None = None) -> dict:
    kinds = np.zeros(len(field.x_px), np.uint8) if kind is None else kind
    shifts = measure_shifts(counts, PANEL.roles, PIXEL_SIZE_UM, RegistrationSettings())
    return frame_quality(
        4, counts, field.x_px, field.y_px, kinds, BACKGROUND, NOISE, shifts, PANEL, PIXEL_SIZE_UM
    )  # fmt: skip


@pytest.fixture(scope="module")
def counts(field, stack) -> torch.Tensor:
    return stack(field.draw(seed=1), field.draw("ring", height=12, seed=2), field.draw("ring", height=60, seed=3))


def _spot(sigma_px: float, height: float) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = np.mgrid[-20:21, -20:21]
    image = 50 + height * np.exp(-(rows**2 + columns**2) / (2 * sigma_px**2))
    disc = torch.from_numpy(rows**2 + columns**2 <= 18**2)
    return torch.from_numpy(image.astype(np.float32))[None, None], disc


@settings(max_examples=20)
@given(sigma_px=st.floats(3, 5), height=st.floats(1, 4000), pixel_size_um=st.floats(0.2, 2))
def test_the_focus_of_a_gaussian_spot_is_its_inverse_width(sigma_px, height, pixel_size_um):
    windows, disc = _spot(sigma_px, height)
    found = focus_per_um(windows, disc, np.array([50.0]), np.array([0.0]), pixel_size_um)
    assert found == pytest.approx([1 / (sigma_px * pixel_size_um)], rel=0.06)


def test_noise_changes_the_focus_little():
    windows, disc = _spot(4, 100)
    noisy = windows.expand(1, 50, -1, -1) + 5 * torch.randn((1, 50, 41, 41), generator=torch.Generator().manual_seed(0))
    clean = focus_per_um(windows, disc, np.array([50.0]), np.array([0.0]), 0.6)
    assert focus_per_um(noisy, disc, np.array([50.0]), np.array([5.0]), 0.6) == pytest.approx(clean, rel=0.05)


def test_noise_alone_has_no_focus():
    noise = 50 + 5 * torch.randn((1, 50, 41, 41), generator=torch.Generator().manual_seed(0))
    assert np.isnan(focus_per_um(noise, _spot(4, 1)[1], np.array([50.0]), np.array([5.0]), 0.6)).all()


def test_blurring_lowers_the_focus(field, counts):
    blurred = torch.from_numpy(ndimage.gaussian_filter(counts.numpy(), (0, 4, 4)))
    sharp, soft = (_quality(field, image)["channels"]["DAPI"]["focus"] for image in (counts, blurred))
    assert soft < 0.75 * sharp


def test_the_record_holds_what_the_frame_holds(field, counts):
    kind = np.zeros(len(field.x_px), np.uint8)
    kind[:7], kind[7:10] = 1, 2
    quality = _quality(field, counts, kind)
    assert json.loads(json.dumps(quality, allow_nan=False)) == quality
    assert (quality["frame"], quality["cells"], quality["objects"], quality["clusters"]) == (4, 110, 7, 3)
    area_mm2 = counts[0].numel() * 0.00064**2
    assert quality["cells_per_mm2"] == pytest.approx(110 / area_mm2, rel=1e-5)
    assert (quality["registered"], quality["reference"], quality["covered_share"]) == (True, "CD45", 0)
    assert list(quality["channels"]) == ["DAPI", "CK", "CD45"]
    dapi = quality["channels"]["DAPI"]
    assert dapi["verdict"] == "aligned"
    assert (dapi["background"], dapi["noise"]) == (50, 3)
    assert dapi["cell_level"] == pytest.approx(200 * 0.74, rel=0.1)


def test_saturated_pixels_are_counted(field, counts):
    counts = counts.clone()
    counts[2, :10, :48] = 4095
    channels = _quality(field, counts)["channels"]
    assert channels["CD45"]["saturated_share"] == pytest.approx(480 / counts[0].numel(), rel=1e-5)
    assert channels["DAPI"]["saturated_share"] == 0


def test_a_frame_without_cells_has_no_focus_and_no_level(cells_at, stack):
    empty = cells_at(0, (200, 300))
    quality = _quality(empty, stack(*[empty.draw(seed=seed) for seed in range(3)]))
    assert quality["cells"] == 0
    assert all(channel["focus"] is None and channel["cell_level"] is None for channel in quality["channels"].values())
    assert all(channel["shift_px"] is None for name, channel in quality["channels"].items() if name != "CD45")
    json.dumps(quality, allow_nan=False)


def test_a_flat_channel_can_be_stored(field, counts):
    flat = counts.clone()
    flat[1] = 7
    channel = _quality(field, flat)["channels"]["CK"]
    assert channel["correlation_after"] is None
    assert channel["verdict"] == "too_little_signal"


@pytest.mark.parametrize(("inside", "name"), [(400.0, "bright"), (5.0, "dark")])
def test_a_bubble_covers_its_area(field, counts, inside, name):
    rows, columns = np.mgrid[:360, :480]
    bubble = np.hypot(rows - 150, columns - 200) < 110
    covered = counts.clone()
    covered[1][torch.from_numpy(bubble)] = inside
    quality = _quality(field, covered)
    assert quality["channels"]["CK"][f"{name}_share"] == pytest.approx(bubble.mean(), rel=0.35)
    assert quality["covered_share"] == quality["channels"]["CK"][f"{name}_share"]


def test_cells_noise_and_uneven_light_cover_nothing(cells_at, stack):
    crowd = cells_at(400, (330, 400), seed=3, least_um=7.0)
    uneven = 1 + 0.2 * np.linspace(-1, 1, 400, dtype=np.float32)
    counts = stack(*[crowd.draw(seed=seed, noise=6) * uneven for seed in range(3)])
    bright, dark = covered_blocks(counts, NOISE, PIXEL_SIZE_UM)
    assert not bright.any()
    assert not dark.any()
