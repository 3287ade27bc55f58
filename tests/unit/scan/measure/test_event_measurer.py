"""Measurements against discs of known size and against scikit-image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label, regionprops

from ctcnet.errors import PanelError
from ctcnet.panel import Channel, Panel
from ctcnet.scan.measure.event_measurer import EventMeasurer

pytestmark = pytest.mark.unit

PIXEL_UM = 0.64
PANEL = Panel(
    "four",
    (
        Channel("DAPI", "nucleus"),
        Channel("CK", "epithelial"),
        Channel("CD45", "leukocyte"),
        Channel("BF", "transmitted"),
    ),
    12,
    PIXEL_UM,
)
BACKGROUND = (100.0, 40.0, 60.0, 2000.0)
NOISE = np.array([2.0, 1.0, 1.0, 5.0], np.float32)


@dataclass
class Events:
    """Detected events as the measurer reads them."""

    x_px: np.ndarray
    y_px: np.ndarray
    kind: np.ndarray
    diameter_um: np.ndarray
    parent: np.ndarray
    crowded: np.ndarray
    background: np.ndarray


def events(places, diameter_um=9.0, kind=None, parent=None, crowded=False) -> Events:
    x, y = np.asarray(places, np.float32).reshape(-1, 2).T
    count = len(x)
    return Events(
        x,
        y,
        np.zeros(count, np.uint8) if kind is None else np.asarray(kind, np.uint8),
        np.broadcast_to(np.float32(diameter_um), count).copy(),
        np.full(count, -1, np.int32) if parent is None else np.asarray(parent, np.int32),
        np.broadcast_to(crowded, count).copy(),
        np.array(BACKGROUND, np.float32),
    )


def empty_image(height=120, width=140) -> np.ndarray:
    return np.broadcast_to(np.array(BACKGROUND, np.float32)[:, None, None], (4, height, width)).copy()


def add_disc(image, channel, x, y, diameter_um, counts, blur_um=0.25):
    """A disc with a soft edge whose half-maximum contour has the diameter."""
    rows, columns = np.mgrid[: image.shape[1], : image.shape[2]]
    distance_um = np.hypot(columns - x, rows - y) * PIXEL_UM
    image[channel] += counts / (1 + np.exp(np.clip((distance_um - diameter_um / 2) / blur_um, -50, 50)))


def add_cell(image, x, y, nucleus_um=7.0, cell_um=9.0, dapi=800.0, ck=0.0, cd45=200.0):
    add_disc(image, 0, x, y, nucleus_um, dapi)
    add_disc(image, 1, x, y, cell_um, ck)
    add_disc(image, 2, x, y, cell_um, cd45)


def measure(image, found, panel=PANEL, noise=NOISE):
    return EventMeasurer(panel, PIXEL_UM).measure(torch.from_numpy(image), found, noise)


def test_discs_of_known_size_and_level():
    image = empty_image()
    add_cell(image, 40.3, 50.6, ck=150.0)
    add_cell(image, 100, 50, nucleus_um=10, cell_um=14, ck=0.0)
    out = measure(image, events([(40.3, 50.6), (100, 50)], [9.0, 14.0]))
    np.testing.assert_allclose(out["nucleus_diameter_um"], [7.0, 10.0], atol=0.45)
    np.testing.assert_allclose(out["diameter_um"], [9.0, 14.0], atol=0.45)
    np.testing.assert_allclose(out["area_um2"], np.pi / 4 * out["diameter_um"] ** 2, rtol=1e-4)
    np.testing.assert_allclose(out["background_CD45"], 60, atol=0.5)
    np.testing.assert_allclose(out["background_BF"], 2000, atol=0.5)
    np.testing.assert_allclose(out["mean_CD45"], 190, atol=15)
    np.testing.assert_allclose(out["max_CD45"], 200, atol=2)
    np.testing.assert_allclose(out["snr_CD45"], out["mean_CD45"] / 1.0, rtol=1e-5)
    np.testing.assert_allclose(out["mean_BF"], 0, atol=0.5)
    assert out["positive_area_um2_CK"][1] == 0
    assert out["positive_area_um2_CK"][0] == pytest.approx(out["area_um2"][0], rel=0.1)
    np.testing.assert_allclose(out["nucleus_in_ck"], [1, 0])
    np.testing.assert_array_equal(out["nucleus_count"], [1, 1])
    assert (out["circularity"] > 0.9).all()
    assert not out["saturated"].any()


def test_all_columns_have_their_types_and_every_marker():
    out = measure(empty_image(), events([(60, 60)]))
    names = {"diameter_um", "area_um2", "nucleus_diameter_um", "nucleus_area_um2", "nucleus_count", "nucleus_in_ck"}
    names |= {"circularity", "saturated", "crowded"}
    kinds = ("mean", "max", "background", "snr", "positive_area_um2")
    names |= {f"{kind}_{marker}" for kind in kinds for marker in PANEL.markers}
    assert set(out) == names
    assert out["nucleus_count"].dtype == np.int16
    assert out["saturated"].dtype == bool
    assert out["crowded"].dtype == bool
    assert all(v.dtype == np.float32 for k, v in out.items() if k not in ("nucleus_count", "saturated", "crowded"))


def test_crowded_is_what_the_detector_says():
    assert measure(empty_image(), events([(30, 30), (60, 60)], crowded=[False, True]))["crowded"].tolist() == [0, 1]


def test_no_event_and_no_stain():
    out = measure(empty_image(), events(np.zeros((0, 2))))
    assert all(len(values) == 0 for values in out.values())
    out = measure(empty_image(), events([(60, 60), (0, 0), (139, 119)]))
    assert (out["area_um2"] == 0).all()
    assert (out["nucleus_count"] == 0).all()
    np.testing.assert_allclose(out["mean_DAPI"], 0, atol=1e-3)
    assert np.isnan(out["nucleus_in_ck"]).all()


def test_agrees_with_regionprops():
    """Areas, means and maxima of isolated cells as scikit-image finds them above the same thresholds."""
    image = empty_image(200, 200)
    rng = np.random.default_rng(3)
    places = [(30 + 60 * i, 30 + 60 * j) for i in range(3) for j in range(3)]
    for x, y in places:
        add_cell(image, x, y, rng.uniform(5.5, 8), rng.uniform(8.5, 11), cd45=rng.uniform(100, 400))
    out = measure(image, events(places))
    nuclei = regionprops(label(image[0] - 100 > 0.4 * 800), intensity_image=image[0] - 100)
    cells = regionprops(label(image[2] - 60 > 0.6 * (image[2].max() - 60)))
    assert len(nuclei) == len(places)
    assert 0 < len(cells) <= len(places)
    for i, (x, y) in enumerate(places):
        region = next(r for r in nuclei if np.hypot(r.centroid[1] - x, r.centroid[0] - y) < 2)
        assert out["nucleus_area_um2"][i] == pytest.approx(region.area * PIXEL_UM**2, rel=0.08)
        assert out["max_DAPI"][i] == pytest.approx(region.intensity_max, rel=1e-3)
        own = image[2, y - 15 : y + 16, x - 15 : x + 16] - 60
        assert out["area_um2"][i] == pytest.approx((own > 0.6 * own.max()).sum() * PIXEL_UM**2, rel=0.08)


@settings(max_examples=8)
@given(
    turns=st.integers(1, 3), shift=st.tuples(st.integers(-9, 9), st.integers(-9, 9)), gain=st.sampled_from([0.5, 3.0])
)
def test_turning_shifting_and_gain(turns, shift, gain):
    """Sizes do not depend on where a cell lies, how the image is turned or how bright it is."""
    rng = np.random.default_rng(7)
    image = empty_image(120, 120) + rng.normal(0, 1, (4, 120, 120)).astype(np.float32)
    places = np.array([(50.0, 52.0), (66.0, 55.0), (40.0, 80.0)])
    for x, y in places:
        add_cell(image, x, y, ck=90)
    base = measure(image, events(places))
    turned = np.ascontiguousarray(np.rot90(image, turns, (1, 2)))
    moved = places
    for _ in range(turns):
        moved = np.stack([moved[:, 1], 119 - moved[:, 0]], axis=1)
    rolled = np.roll(image, (shift[1], shift[0]), (1, 2))
    bright = (image * gain).astype(np.float32)
    for other, tolerance in (
        (measure(turned, events(moved)), 2 * PIXEL_UM**2),
        (measure(rolled, events(places + shift)), 1e-3),
        (measure(bright, events(places), noise=NOISE * gain), 1e-3),
    ):
        np.testing.assert_allclose(other["area_um2"], base["area_um2"], atol=tolerance)
        np.testing.assert_allclose(other["nucleus_area_um2"], base["nucleus_area_um2"], atol=tolerance)
    scaled = measure(bright, events(places), noise=NOISE * gain)
    np.testing.assert_allclose(scaled["mean_CK"], gain * base["mean_CK"], rtol=1e-3)
    np.testing.assert_allclose(scaled["snr_CK"], base["snr_CK"], rtol=1e-3)


def test_touching_cells_do_not_share_pixels():
    """A large cell beside a small one: the border passes where they touch, and together they hold every pixel once."""
    image = empty_image()
    add_disc(image, 2, 60, 60, 14, 200)
    image[2] = np.maximum(image[2], empty_image()[2])
    beside = 60 + (7 + 4) / PIXEL_UM
    small = empty_image()
    add_disc(small, 2, beside, 60, 8, 200)
    image[2] = np.maximum(image[2], small[2])
    add_disc(image, 0, 60, 60, 10, 800)
    add_disc(image, 0, beside, 60, 6, 800)
    out = measure(image, events([(60, 60), (beside, 60)], [14.0, 8.0]))
    np.testing.assert_allclose(out["diameter_um"], [14, 8], atol=0.6)
    union = (image[2] - 60 > 0.6 * 200).sum() * PIXEL_UM**2
    assert out["area_um2"].sum() == pytest.approx(union, rel=0.08)


def test_cluster_takes_the_union_of_its_members():
    image = empty_image()
    add_cell(image, 55, 60, ck=300, cd45=0)
    add_cell(image, 69, 60, cd45=200)
    found = events([(55, 60), (69, 60), (62, 60)], [9.0, 9.0, 18.0], kind=[0, 0, 2], parent=[2, 2, -1])
    out = measure(image, found)
    assert out["area_um2"][2] == pytest.approx(out["area_um2"][:2].sum())
    assert out["nucleus_area_um2"][2] == pytest.approx(out["nucleus_area_um2"][:2].sum())
    assert out["nucleus_count"][2] == 2
    weights = out["area_um2"][:2]
    assert out["mean_CK"][2] == pytest.approx(np.average(out["mean_CK"][:2], weights=weights), rel=1e-5)
    assert out["max_CK"][2] == out["max_CK"][:2].max()
    assert out["snr_CK"][2] == pytest.approx(out["mean_CK"][2] / NOISE[1])
    assert out["nucleus_in_ck"][2] == pytest.approx(0.5, abs=0.05)
    assert np.isnan(out["circularity"][2])
    alone = measure(image, events([(55, 60), (69, 60)]))
    np.testing.assert_array_equal(out["area_um2"][:2], alone["area_um2"])


def test_nuclei_are_counted_and_lobes_are_not():
    image = empty_image()
    add_disc(image, 2, 30, 60, 10, 200)
    for angle in (0, 2.1, 4.2):  # three lobes 3 um apart
        add_disc(image, 0, 30 + 1.8 / PIXEL_UM * np.cos(angle), 60 + 1.8 / PIXEL_UM * np.sin(angle), 3.0, 800)
    add_disc(image, 2, 90, 60, 16, 200)
    for side in (-1, 1):  # two nuclei 7 um apart in one cell
        add_disc(image, 0, 90 + side * 3.5 / PIXEL_UM, 60, 6.0, 800)
    out = measure(image, events([(30, 60), (90, 60)], [10.0, 16.0]))
    np.testing.assert_array_equal(out["nucleus_count"], [1, 2])


def test_object_has_no_nucleus():
    image = empty_image()
    add_cell(image, 60, 60, ck=300, dapi=50)
    out = measure(image, events([(60, 60)], kind=[1]))
    assert out["nucleus_area_um2"][0] == 0
    assert out["nucleus_count"][0] == 0
    assert out["diameter_um"][0] == pytest.approx(9, abs=0.4)


@pytest.mark.parametrize("diameter_um", [12.0, 20.0, 34.0])
def test_large_events_are_measured_whole_though_the_detector_says_less(diameter_um):
    image = empty_image(240, 240)
    add_disc(image, 1, 120, 120, diameter_um, 300)
    add_disc(image, 0, 120, 120, 9, 800)
    out = measure(image, events([(120, 120)], min(0.75 * diameter_um, 24)))
    assert out["diameter_um"][0] == pytest.approx(diameter_um, abs=0.5)


def test_cell_at_the_border_of_the_image_counts_what_is_seen():
    image = empty_image()
    add_cell(image, 0, 60, nucleus_um=8)
    add_cell(image, 139, 119, nucleus_um=8)
    out = measure(image, events([(0, 60), (139, 119)]))
    whole = np.pi / 4 * 8**2
    assert out["nucleus_area_um2"][0] == pytest.approx(whole / 2, rel=0.2)
    assert out["nucleus_area_um2"][1] == pytest.approx(whole / 4, rel=0.35)
    np.testing.assert_allclose(out["background_CD45"], 60, atol=1)


def test_image_smaller_than_a_patch():
    image = empty_image(24, 20)
    add_cell(image, 10, 12)
    out = measure(image, events([(10, 12)]))
    assert out["nucleus_diameter_um"][0] == pytest.approx(7, abs=0.45)


def test_specks_beside_a_cell_are_cut_off_and_platelets_are_not():
    panel = Panel("p", (*PANEL.channels[:3], Channel("CD61", "platelet")), 12, PIXEL_UM)
    image = empty_image()
    add_cell(image, 60, 60, cd45=200)
    base = measure(image, events([(60, 60)]), panel)["area_um2"][0]
    speck = image.copy()
    speck[1, 60, 66:75] += 500  # a thread of one pixel
    threaded = measure(speck, events([(60, 60)]), panel)
    assert threaded["area_um2"][0] == pytest.approx(base, rel=0.05)
    add_disc(image, 3, 60, 60 - 5.2 / PIXEL_UM, 2.5, 900)
    covered = measure(image, events([(60, 60)]), panel)
    assert covered["area_um2"][0] > base + 2
    assert 3 < covered["positive_area_um2_CD61"][0] < 9  # 4.9 um2, widened by smoothing


def test_dense_surroundings_still_have_a_background():
    image = empty_image()
    places = [(x, y) for x in range(8, 140, 14) for y in range(8, 120, 14)]
    for x, y in places:
        add_cell(image, x, y)
    out = measure(image, events(places))
    np.testing.assert_allclose(out["background_CD45"], 60, atol=25)
    assert (out["diameter_um"] > 7).all()


def test_saturated_pixels_are_seen_in_stained_channels_only():
    image = empty_image()
    add_cell(image, 40, 60, cd45=6000)
    add_cell(image, 100, 60)
    image[3, 50:70, 90:110] = 4095
    image = np.minimum(image, 4095)
    np.testing.assert_array_equal(measure(image, events([(40, 60), (100, 60)]))["saturated"], [True, False])


def test_events_on_top_of_each_other_are_no_fault():
    image = empty_image()
    add_cell(image, 60, 60)
    rng = np.random.default_rng(0)
    places = np.concatenate([[(60, 60), (60, 60)], rng.uniform(50, 70, (300, 2))])
    out = measure(image, events(places))
    for name, values in out.items():
        assert np.isfinite(values).all() or name in ("nucleus_in_ck", "circularity"), name


def test_order_and_company_of_far_events_do_not_matter():
    image = empty_image(300, 300)
    places = np.array([(30 + 50 * i, 30 + 50 * j) for i in range(5) for j in range(5)], np.float32)
    for x, y in places:
        add_cell(image, x, y, ck=50)
    out = measure(image, events(places))
    back = measure(image, events(places[::-1]))
    for name, values in out.items():
        np.testing.assert_allclose(back[name][::-1], values, rtol=1e-5, err_msg=name)


def test_without_epithelial_channel_nothing_is_said_of_ck():
    panel = Panel("s", (Channel("DAPI", "nucleus"), Channel("CD45", "leukocyte")), 12, PIXEL_UM)
    image = empty_image()
    add_cell(image, 60, 60)
    out = measure(image[[0, 2]], events([(60, 60)]), panel, NOISE[[0, 2]])
    assert np.isnan(out["nucleus_in_ck"][0])


def test_panel_without_nucleus_is_refused():
    with pytest.raises(PanelError, match="no nucleus channel"):
        EventMeasurer(Panel("n", (Channel("CK", "epithelial"),), 12), PIXEL_UM)
