"""Frames: cells where the truth has them, whole across borders, and pixels that depend on nothing but the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ctcnet.panel import Panel, load_panel
from ctcnet.simulate.cartridge_truth import truth_table
from ctcnet.simulate.composition import IS_LEUKOCYTE
from ctcnet.simulate.field_canvas import FieldCanvas
from ctcnet.simulate.field_dots import TileDots
from ctcnet.simulate.field_events import EventNumbers
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.field_renderer import ChannelShift, FieldRenderer
from ctcnet.simulate.field_scene import FieldScene, compose_field, draw_patient
from ctcnet.simulate.objects import Dots
from ctcnet.simulate.optics import CANVAS_VARIANCE, blur, blur_matrices

pytestmark = pytest.mark.unit

PANEL = load_panel("ctc5")
GRID = FieldGrid(2, 2, 200, 240, 0.64, overlap_x_px=20, overlap_y_px=20)
NUMBERS = EventNumbers(ctc=5, leukocytes=50, clusters_neutrophil=2, clusters_platelet=2, debris=5)


def _scene(grid: FieldGrid = GRID, numbers: EventNumbers = NUMBERS, panel: Panel = PANEL, **options) -> FieldScene:
    return compose_field(panel, grid, numbers, seed=3, group=draw_patient(panel, 3, 1.0), **options)


def _without_dots(scene: FieldScene) -> FieldScene:
    return replace(scene, specks_per_mm2=0.0, platelets_per_mm2=0.0)


def test_blur_is_that_of_the_crops() -> None:
    canvas = FieldCanvas(2, 40, 40, 8, 0.64)
    canvas.values = torch.rand(canvas.values.shape, generator=torch.Generator().manual_seed(1))
    sigma_px = torch.tensor([0.8, 1.6])
    expected = blur(canvas.values[None], blur_matrices(sigma_px[None], 40, 8))[0]
    assert torch.allclose(canvas.blurred(sigma_px), expected, atol=2e-4)


def test_blur_has_the_width_asked_for() -> None:
    canvas = FieldCanvas(1, 61, 61, 10, 1.0)
    canvas.values[0, 40, 40] = 1.0
    found = canvas.blurred(torch.tensor([2.0]))[0].numpy()
    image = np.zeros((61, 61))
    image[30, 30] = 1.0
    assert np.abs(found - gaussian_filter(image, (4.0 - CANVAS_VARIANCE) ** 0.5)).max() < 2e-4


def test_dots_lie_at_their_place_also_off_square() -> None:
    canvas = FieldCanvas(1, 30, 50, 6, 0.5)
    place_um = torch.tensor([[18.2, 6.6]])
    canvas.add_dots(Dots(torch.zeros(1, dtype=torch.long), place_um, torch.tensor([0.5]), torch.ones(1, 1)), 0.5)
    plane = canvas.blurred(torch.tensor([0.9]))[0].double()
    row, column = torch.meshgrid(torch.arange(30.0), torch.arange(50.0), indexing="ij")
    assert float((plane * column).sum() / plane.sum()) * 0.5 == pytest.approx(18.2, abs=0.02)
    assert float((plane * row).sum() / plane.sum()) * 0.5 == pytest.approx(6.6, abs=0.02)


def test_shared_pixels_show_the_same_in_both_frames() -> None:
    renderer = FieldRenderer(_scene(), PANEL, GRID)
    left, right, below = (renderer.signal(GRID.place(*place)) for place in ((0, 0), (0, 1), (1, 0)))
    scale = float(left.max())
    assert float((left[:, :, -20:] - right[:, :, :20]).abs().max()) < 2e-3 * scale
    assert float((left[:, -20:, :] - below[:, :20, :]).abs().max()) < 2e-3 * scale
    assert float(left[:, :, -20:].max()) > 0.01 * scale


def test_frames_that_touch_continue_each_other() -> None:
    two = FieldGrid(1, 2, 160, 160, 0.64)
    one = FieldGrid(1, 1, 160, 320, 0.64)
    scene = _without_dots(_scene(two, EventNumbers(2, 25, 1, 0, 3)))
    halves = [FieldRenderer(scene, PANEL, two).signal(place) for place in two.scan_order()]
    whole = FieldRenderer(scene, PANEL, one).signal(one.place(0, 0))
    assert float((torch.cat(halves, dim=2) - whole).abs().max()) < 2e-3 * float(whole.max())


def test_a_frame_does_not_depend_on_frames_before_it() -> None:
    place = GRID.place(1, 1)
    first, second = FieldRenderer(_scene(), PANEL, GRID), FieldRenderer(_scene(), PANEL, GRID)
    second.frame(GRID.place(0, 0))
    assert np.array_equal(first.frame(place), second.frame(place))


def test_frames_are_counts_of_the_panel() -> None:
    counts = FieldRenderer(_scene(), PANEL, GRID).frame(GRID.place(0, 1))
    assert counts.shape == (5, 200, 240)
    assert counts.dtype == np.uint16
    assert 0 < counts.min() <= counts.max() <= PANEL.full_scale


def test_nuclei_lie_where_the_truth_has_them() -> None:
    scene = _without_dots(_scene(numbers=EventNumbers(3, 12, 0, 0, 0)))
    scene = replace(scene, events=replace(scene.events, layer=torch.zeros_like(scene.events.layer)))
    renderer = FieldRenderer(scene, PANEL, GRID)
    images = {place.number: renderer.signal(place)[0].double().numpy() for place in GRID.scan_order()}
    checked = 0
    rows = [row for row in truth_table(scene, GRID).to_pylist() if row["cluster_id"] is None]
    for row in rows:
        x, y = round(row["x_px"]), round(row["y_px"])
        near = [r for r in rows if abs(r["x_um"] - row["x_um"]) < 18 and abs(r["y_um"] - row["y_um"]) < 18]
        if len(near) > 1 or row["touches_border"] or not (12 <= x < 228 and 12 <= y < 188):
            continue
        part = images[row["frame"]][y - 11 : y + 12, x - 11 : x + 12]
        part = np.clip(part - 0.05 * part.max(), 0, None)
        line = np.arange(-11, 12)
        assert (part * line).sum() / part.sum() + x == pytest.approx(row["x_px"], abs=0.8)
        assert (part * line[:, None]).sum() / part.sum() + y == pytest.approx(row["y_px"], abs=0.8)
        checked += 1
    assert checked >= 3


def test_noise_is_that_of_the_electrons() -> None:
    empty = EventNumbers(0, 0, 0, 0, 0)
    scene = _without_dots(_scene(numbers=empty))
    counts = FieldRenderer(scene, PANEL, GRID).frame(GRID.place(0, 0)).astype(float)
    group = scene.group
    for channel, page in enumerate(counts):
        difference = page[:, 1:] - page[:, :-1]
        per_count = float(group.electrons_per_count[0, channel])
        expected = (float(group.background_e[0, channel]) + float(group.read_noise_e[0, channel]) ** 2) ** 0.5
        assert difference.std() / 2**0.5 * per_count == pytest.approx(expected, rel=0.12)


def test_light_falls_off_smoothly_and_alike_in_all_frames() -> None:
    scene = _without_dots(_scene(numbers=EventNumbers(0, 0, 0, 0, 0)))
    group = replace(scene.group, background_e=torch.full_like(scene.group.background_e, 5e4))
    group = replace(group, electrons_per_count=torch.full_like(group.electrons_per_count, 30.0))
    renderer = FieldRenderer(replace(scene, group=group), PANEL, GRID)
    first, second = (renderer.frame(place).astype(float) for place in GRID.scan_order()[:2])
    assert (first[0] / second[0]).std() < 0.01
    smooth = gaussian_filter(first[0], 15)
    assert 0.01 < 1 - smooth.min() / smooth.max() < 0.3


def test_the_rim_is_bright_and_ends_before_the_cells() -> None:
    grid = FieldGrid(1, 2, 400, 400, 0.64)
    scene = _without_dots(_scene(grid, EventNumbers(0, 0, 0, 0, 0), rim_um=60.0))
    counts = FieldRenderer(scene, PANEL, grid).frame(grid.place(0, 0)).astype(float)
    inner = np.median(counts[0, 150:250, 150:250])
    rim = round(60 / 0.64)
    assert counts[0, 200, : rim // 2].max() > 5 * inner
    assert np.median(counts[0, 200, rim : rim + 40]) == pytest.approx(inner, rel=0.2)
    assert np.median(counts[0, 200, -rim:]) == pytest.approx(inner, rel=0.2)  # the neighbour touches here


def test_a_shifted_channel_is_displaced_and_the_others_are_not() -> None:
    number = GRID.place(0, 1).number
    scene = _scene()
    scene = replace(scene, group=replace(scene.group, bleed=torch.eye(5)[None]))
    plain = FieldRenderer(scene, PANEL, GRID)
    shifted = FieldRenderer(scene, PANEL, GRID, [ChannelShift("CK", 6.0, -4.0, (number,))])
    before, after = plain.signal(GRID.place(0, 1)), shifted.signal(GRID.place(0, 1))
    assert torch.equal(before[[0, 2, 3, 4]], after[[0, 2, 3, 4]])
    moved = before[1, 8:, :-10]
    assert float((after[1, 4:-4, 6:-4] - moved).abs().max()) < 2e-3 * float(moved.max())
    assert torch.equal(plain.signal(GRID.place(0, 0)), shifted.signal(GRID.place(0, 0)))


def test_free_platelets_keep_off_tumour_cells() -> None:
    scene = replace(_scene(), platelets_per_mm2=20_000.0)
    dots = TileDots(scene, GRID).platelets(0, 0)
    tumour = scene.bodies.rows(scene.bodies.kind == 3)
    gap = torch.cdist(dots.centre, tumour.centre) - tumour.radius
    assert len(dots.crop) > 100
    assert float(gap.min()) > 1.19


def test_specks_have_the_density_asked_for() -> None:
    grid = FieldGrid(1, 1, 1000, 1000, 0.5)
    scene = _scene(grid, EventNumbers(0, 10, 0, 0, 0), specks_per_mm2=10_000.0)
    assert int((scene.events.label == IS_LEUKOCYTE).sum()) == 10
    dots = TileDots(scene, grid).specks(0, 0)
    assert len(dots.crop) == pytest.approx(2500, abs=5 * 50)
    assert float(dots.centre.min()) >= 0
    assert float(dots.centre.max()) <= 500
    assert not torch.equal(dots.centre[:5], TileDots(scene, grid).specks(0, 1).centre[:5])
