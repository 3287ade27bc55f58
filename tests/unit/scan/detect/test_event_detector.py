"""The detector on scenes whose events are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from ctcnet.errors import SettingError
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.event_kinds import CELL, CLUSTER, OBJECT
from ctcnet.scan.platform import DetectionSettings

pytestmark = pytest.mark.unit

PIXEL_UM = 0.6
ROLES = ("nucleus", "epithelial", "leukocyte", "none")


def disc(shape: tuple[int, int], y_um: float, x_um: float, diameter_um: float) -> np.ndarray:
    """Blurred disc of height 1."""
    y, x = np.indices(shape) * PIXEL_UM
    return 1 / (1 + np.exp((np.hypot(y - y_um, x - x_um) - diameter_um / 2) / 0.3))


def frame(shape: tuple[int, int] = (160, 160), noise: float = 5.0, seed: int = 0) -> np.ndarray:
    """Background of 100 counts in four channels."""
    return (100 + noise * np.random.default_rng(seed).normal(size=(4, *shape))).astype(np.float32)


def detect(image: np.ndarray, valid: np.ndarray | None = None):
    mask = None if valid is None else torch.from_numpy(valid)[None]
    return EventDetector(DetectionSettings(), ROLES, PIXEL_UM).detect(torch.from_numpy(image)[None], mask)[0]


@pytest.mark.parametrize("diameter_um", [4.5, 7.0, 10.0, 14.0])
def test_a_round_nucleus_is_one_cell_at_its_place(diameter_um):
    image = frame()
    image[0] += 400 * disc((160, 160), 40.3, 52.1, diameter_um)
    events = detect(image)
    assert events.kind.tolist() == [CELL]
    assert np.hypot(events.y_px[0] * PIXEL_UM - 40.3, events.x_px[0] * PIXEL_UM - 52.1) < 0.3
    assert events.diameter_um[0] == pytest.approx(diameter_um, rel=0.2)
    assert events.noise[0] == pytest.approx(5, rel=0.25)


@pytest.mark.parametrize("place_um", [40.0, 40.3, 40.6, 40.9])
def test_a_faint_speck_of_the_nuclear_stain_is_no_cell_but_condensed_chromatin_is(place_um):
    y, x = np.indices((160, 160)) * PIXEL_UM
    speck = np.exp(-((y - place_um) ** 2 + (x - 52.2) ** 2) / (2 * 0.4**2))
    assert (
        len(
            detect(
                frame() + np.float32(250) * speck.astype(np.float32) * np.array([1, 0, 0, 0], np.float32)[:, None, None]
            )
        )
        == 0
    )
    image = frame()
    image[0] += 4000 * speck
    assert detect(image).kind.tolist() == [CELL]


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
def test_touching_cells_seven_um_apart_are_two_and_a_cluster(angle):
    image = frame()
    for sign in (-1, 1):
        image[0] += 300 * disc((160, 160), 48 + sign * 3.5 * np.sin(angle), 48 + sign * 3.5 * np.cos(angle), 6.3)
    events = detect(image)
    assert sorted(events.kind.tolist()) == [CELL, CELL, CLUSTER]
    cluster = int(np.flatnonzero(events.kind == CLUSTER)[0])
    cells = events.kind == CELL
    assert events.members[cluster] == 2
    assert events.parent[cells].tolist() == [cluster, cluster]
    assert events.parent[cluster] == -1
    assert events.x_px[cluster] == pytest.approx(events.x_px[cells].mean(), abs=0.01)


@pytest.mark.parametrize("lobes", [2, 3, 4])
def test_a_lobed_nucleus_is_one_cell(lobes):
    image = frame()
    parts = [
        disc((160, 160), 48 + 1.9 * np.sin(a), 48 + 1.9 * np.cos(a), 3.8)
        for a in np.arange(lobes) * 2 * np.pi / lobes + 0.3
    ]
    image[0] += 300 * np.max(parts, axis=0)
    events = detect(image)
    assert events.kind.tolist() == [CELL]
    assert np.hypot(events.y_px[0] * PIXEL_UM - 48, events.x_px[0] * PIXEL_UM - 48) < 1


def test_cells_of_a_group_too_large_for_a_cluster_are_crowded():
    image = frame()
    for place in range(7):
        image[0] += 300 * disc((160, 160), 30, 15 + 8.5 * place, 8)
    image[0] += 300 * disc((160, 160), 75, 75, 8)
    for place in (0, 8.5):
        image[0] += 300 * disc((160, 160), 75, 20 + place, 8)
    events = detect(image)
    assert sorted(events.kind.tolist()) == [CELL] * 10 + [CLUSTER]
    assert events.crowded.tolist() == (events.y_px * PIXEL_UM < 50).tolist()


def test_objects_count_only_without_a_nucleus_and_leukocyte_stain_alone_is_nothing():
    image = frame()
    image[1] += 300 * disc((160, 160), 25, 25, 8)
    image[1] += 300 * disc((160, 160), 70, 70, 12)
    image[0] += 300 * disc((160, 160), 70, 70, 7)
    image[2] += 300 * disc((160, 160), 25, 70, 8)
    image[3] += 300 * disc((160, 160), 70, 25, 8)
    events = detect(image)
    assert sorted(events.kind.tolist()) == [CELL, OBJECT]
    cell, loose = int(np.argmin(events.kind)), int(np.argmax(events.kind))
    assert events.x_px[loose] * PIXEL_UM == pytest.approx(25, abs=0.5)
    assert events.diameter_um[loose] == pytest.approx(8, abs=1.5)
    assert events.diameter_um[cell] == pytest.approx(12, abs=2)


@pytest.mark.parametrize("cell_um", [14.0, 16.0])
@pytest.mark.parametrize("nucleus_um", [9.0, 10.0])
@pytest.mark.parametrize("offset", [0.29, 0.38])
@pytest.mark.parametrize("over_nucleus", [0.1, 0.36])
@pytest.mark.parametrize("height", [150, 500])
def test_the_thick_side_of_an_eccentric_cytoplasm_is_no_object(cell_um, nucleus_um, offset, over_nucleus, height):
    image = frame()
    nucleus = disc((160, 160), 48, 48 - offset * cell_um / 2, nucleus_um)
    image[0] += 400 * gaussian_filter(nucleus, 0.8)
    cytoplasm = disc((160, 160), 48, 48, cell_um) * (1 - (1 - over_nucleus) * nucleus)
    image[1] += height * gaussian_filter(cytoplasm, 0.8)
    assert detect(image).kind.tolist() == [CELL]


@pytest.mark.parametrize("gap_um", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("cell_um", "ck"), [(8.5, 25), (13.0, 100), (13.0, 300)])
def test_a_free_object_beside_a_cell_stays(gap_um, cell_um, ck):
    image = frame()
    image[0] += 400 * disc((160, 160), 48, 48, 0.7 * cell_um)
    image[1] += ck * disc((160, 160), 48, 48, cell_um)
    x_um = 48 + cell_um / 2 + gap_um + 4
    image[1] += 300 * disc((160, 160), 48, x_um, 8)
    events = detect(image)
    assert sorted(events.kind.tolist()) == [CELL, OBJECT]
    assert events.x_px[events.kind == OBJECT] * PIXEL_UM == pytest.approx(x_um, abs=1.5)


def test_specks_are_counted_and_not_emitted():
    rng = np.random.default_rng(3)
    image = frame((300, 300), noise=1.0)
    number = int(15_000 * (300 * PIXEL_UM / 1000) ** 2)
    y, x = np.indices((9, 9)) - 4
    for row, column in rng.integers(5, 295, (number, 2)):
        image[1, row - 4 : row + 5, column - 4 : column + 5] += 60 * np.exp(-(y**2 + x**2) / 2 / 0.75**2)
    events = detect(image)
    assert len(events) == 0
    assert 0.6 * 15_000 < events.specks_per_mm2[1] < 1.1 * 15_000
    assert events.specks_per_mm2[0] == 0


@pytest.mark.parametrize("value", [0.0, 7.0, 65535.0])
@pytest.mark.parametrize("side", [16, 64])
def test_constant_frames_show_nothing(value, side):
    events = detect(np.full((4, side, side), value, np.float32))
    assert len(events) == 0
    assert events.noise.tolist() == [pytest.approx(0.29)] * 4
    assert events.background.tolist() == [value] * 4


def test_the_noise_floor_survives_a_background_clipped_to_zero():
    image = np.zeros((4, 160, 160), np.float32)
    image[0] += np.round(60 * disc((160, 160), 48, 48, 7)).astype(np.float32)
    events = detect(image)
    assert events.kind.tolist() == [CELL]
    assert events.noise[0] == pytest.approx(0.29)
    assert events.snr[0] > 50


def test_pixels_that_are_not_valid_give_no_events():
    image = frame()
    for x_um in (20, 70):
        image[0] += 300 * disc((160, 160), 48, x_um, 7)
    valid = np.ones((160, 160), bool)
    valid[:, :75] = False
    events = detect(image, valid)
    assert events.x_px.tolist() == [pytest.approx(70 / PIXEL_UM, abs=0.5)]
    assert len(detect(image, np.zeros((160, 160), bool))) == 0


def test_rows_are_sorted_and_a_batch_changes_nothing():
    rng = np.random.default_rng(5)
    images = []
    for seed in range(2):
        image = frame((256, 256), seed=seed)
        for y_um, x_um in rng.uniform(8, 145, (40, 2)):
            image[0] += 300 * disc((256, 256), y_um, x_um, 6.5)
        images.append(image)
    together = EventDetector(DetectionSettings(), ROLES, PIXEL_UM).detect(torch.from_numpy(np.stack(images)))
    for image, events in zip(images, together, strict=True):
        alone = detect(image)
        for field in dataclasses.fields(alone):
            np.testing.assert_array_equal(getattr(alone, field.name), getattr(events, field.name))
        order = np.lexsort((events.kind, events.x_px, events.y_px))
        assert order.tolist() == list(range(len(events)))
        assert [values.dtype for values in (events.x_px, events.kind, events.members, events.parent)] == [
            np.float32, np.uint8, np.int16, np.int32,
        ]  # fmt: skip


def test_a_crowded_frame_loses_few():
    rng = np.random.default_rng(0)
    steps = np.arange(8, 580, 16)
    truth = np.array([(y, x) for y in steps for x in steps]) + rng.uniform(-1.5, 1.5, (len(steps) ** 2, 2))
    image = frame((590, 590))
    y, x = np.indices((25, 25)) - 12
    for row, column in truth:
        top, left = int(row) - 12, int(column) - 12
        rows, columns = slice(max(top, 0), top + 25), slice(max(left, 0), left + 25)
        patch = 300 / (1 + np.exp((np.hypot(y + int(row) - row, x + int(column) - column) - 5) / 0.5))
        part = image[0, rows, columns]
        part += patch[-part.shape[0] or None :, -part.shape[1] or None :] if top < 0 or left < 0 else patch[
            : part.shape[0], : part.shape[1]
        ]  # fmt: skip
    events = detect(image)
    cells = np.column_stack((events.y_px, events.x_px))[events.kind == CELL]
    distance_um = KDTree(cells).query(truth)[0] * PIXEL_UM
    assert (distance_um < 1).mean() > 0.98
    assert len(cells) < 1.02 * len(truth)


def spots(shape: tuple[int, int], places: np.ndarray, noise: float = 3.0) -> np.ndarray:
    """Gaussian nuclei of height 2,000 (sigma 2 px) at whole pixels, on a background of 100 counts in four channels."""
    image = np.zeros(shape, np.float32)
    np.add.at(image, tuple(places.T), 2000 * 8 * np.pi)
    counts = frame(shape, noise)
    counts[0] += gaussian_filter(image, 2.0)
    return counts


def test_every_cell_of_a_dense_carpet_is_found_and_no_warning_given():
    grid = np.mgrid[12:400:10, 12:400:10].reshape(2, -1).T  # every 6 um: 27,000 per mm2
    events = detect(spots((410, 410), grid))
    assert (events.kind == CELL).sum() == pytest.approx(len(grid), rel=0.02)
    assert events.noise[0] < 15
    assert not events.too_crowded


def test_a_hundred_thousand_nuclei_in_a_frame_are_too_crowded():
    rng = np.random.default_rng(1)
    places = np.column_stack((rng.integers(0, 1036, 100_000), rng.integers(0, 1384, 100_000)))
    events = detect(spots((1036, 1384), places))
    assert events.too_crowded
    assert len(events) < 100_000


def test_nuclei_smeared_into_one_layer_are_too_crowded():
    steps = np.rint(np.arange(2, 300, 3.78)).astype(int)
    grid = np.array([(y, x) for y in steps for x in steps])
    assert detect(spots((302, 302), grid)).too_crowded


@pytest.mark.parametrize("cells", [0, 300])
def test_ordinary_frames_are_not_too_crowded(cells):
    places = np.random.default_rng(2).integers(0, 600, (cells, 2))
    assert not detect(spots((600, 600), places)).too_crowded


@pytest.mark.parametrize(
    ("change", "roles", "pixel_size_um"),
    [
        ({}, ("epithelial", "leukocyte"), 0.6),
        ({}, ("nucleus", "nucleus"), 0.6),
        ({}, ROLES, 0.0),
        ({}, ROLES, float("nan")),
        ({"nucleus_diameter_um": (8.0, 4.0)}, ROLES, 0.6),
        ({"cell_diameter_um": (4.0,)}, ROLES, 0.6),
        ({"nucleus_snr": 0}, ROLES, 0.6),
        ({"noise_floor_counts": "low"}, ROLES, 0.6),
        ({"member_distance_um": -1.0}, ROLES, 0.6),
        ({"downsample": 1.5}, ROLES, 0.6),
    ],
)
def test_settings_that_cannot_work_are_refused(change, roles, pixel_size_um):
    with pytest.raises(SettingError, match="expected"):
        EventDetector(dataclasses.replace(DetectionSettings(), **change), roles, pixel_size_um)


def test_images_that_cannot_be_used_are_refused():
    detector = EventDetector(DetectionSettings(), ROLES, PIXEL_UM)
    with pytest.raises(SettingError, match="shape or type"):
        detector.detect(torch.zeros(1, 3, 64, 64))
    with pytest.raises(SettingError, match="shape or type"):
        detector.detect(torch.zeros(1, 4, 64, 64, dtype=torch.float64))
    with pytest.raises(SettingError, match="mask"):
        detector.detect(torch.zeros(1, 4, 64, 64), torch.ones(1, 64, 63, dtype=torch.bool))
    image = torch.zeros(1, 4, 64, 64)
    image[0, 0, 30, 30] = float("nan")
    with pytest.raises(SettingError, match="not finite"):
        detector.detect(image)
