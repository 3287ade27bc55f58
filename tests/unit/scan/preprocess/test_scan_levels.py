"""Background and scale of a cartridge from its leukocytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ctcnet.cartridge_levels import scale_from_leukocytes
from ctcnet.panel import Channel, Panel, load_panel
from ctcnet.scan.preprocess.frame_sample import FrameSample
from ctcnet.scan.preprocess.levels import CartridgeLevels, measure_levels
from ctcnet.simulate.cartridge_levels import measure_cartridge_levels
from ctcnet.simulate.composition import IS_LEUKOCYTE
from ctcnet.simulate.crop_simulator import CropSimulator

pytestmark = pytest.mark.unit

PIXEL_SIZE_UM = 0.64
PANEL = Panel("p", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte")), 12, 0.64)


def _sample(field, *channels: np.ndarray, kind: np.ndarray | None = None, **changes) -> FrameSample:
    count = len(channels)
    kinds = np.zeros(len(field.x_px), np.uint8) if kind is None else kind
    counts = torch.from_numpy(np.stack(channels))
    return FrameSample(field.x_px, field.y_px, kinds, counts, np.full(count, 50.0), np.full(count, 3.0), **changes)


def _stained(field, **changes) -> FrameSample:
    channels = (field.draw(seed=1), field.draw("ring", height=12, seed=2), field.draw("ring", height=60, seed=3))
    return _sample(field, *channels, **changes)


@pytest.mark.parametrize("name", ["cellsearch4", "sarcoma"])
def test_levels_are_those_that_networks_are_trained_with(name):
    panel, groups, crops = load_panel(name), 1, 48

    def simulator() -> CropSimulator:
        return CropSimulator(panel, seed=11, num_groups=groups, scanners=1)

    background, scale = measure_cartridge_levels(simulator(), crops)
    index = torch.arange(groups).repeat_interleave(crops)
    counts = simulator().sample(torch.full_like(index, IS_LEUKOCYTE), index).counts.float()
    size = counts.shape[-1]
    rows, columns = np.mgrid[:6, :8]
    x_px, y_px = ((axis.ravel() * size + (size - 1) / 2).astype(np.float32) for axis in (columns, rows))
    for group in range(groups):
        tiles = counts[index == group].reshape(6, 8, -1, size, size)
        frame = tiles.permute(2, 0, 3, 1, 4).reshape(-1, 6 * size, 8 * size)
        nothing = np.zeros(len(panel.channels))
        sample = FrameSample(x_px, y_px, np.zeros(crops, np.uint8), frame, nothing, nothing)
        levels = measure_levels([sample], panel, simulator().pixel_size_um)
        assert levels.background == pytest.approx(background[group], rel=0.01, abs=1)  # a median of whole counts
        assert levels.scale == pytest.approx(scale[group], rel=0.1)
        assert np.abs(np.log(levels.scale / scale[group])).mean() < 0.04
        assert "no_leukocytes" not in _flags(levels)


def test_levels_follow_the_rule(field):
    levels = measure_levels([_stained(field)], PANEL, PIXEL_SIZE_UM)
    assert levels.background == pytest.approx([50, 50, 50], abs=0.3)
    assert levels.noise == pytest.approx([3, 3, 3], rel=0.05)
    expected = scale_from_leukocytes(levels.level_50.astype(np.float64), levels.noise, PANEL.roles)
    assert levels.scale == pytest.approx(expected, rel=1e-3)
    assert levels.scale[1] == pytest.approx(levels.level_50[1] + levels.noise[1], rel=1e-3)
    assert (levels.level_5 <= levels.level_50).all()
    assert (levels.level_50 <= levels.level_95).all()
    assert levels.complete
    assert levels.alone


def test_the_scale_is_the_rule_of_the_vocabulary():
    level, noise = np.array([-30.0, 0.2, 5.0]), np.array([2.0, 0.1, 2.0])
    scale = scale_from_leukocytes(level, noise, ("transmitted", "leukocyte", "epithelial"))
    assert scale.tolist() == [30.0, 1.0, 7.0]


def test_samples_are_pooled(field, cells_at):
    dim = cells_at(100, field.shape, seed=4)
    bright, faint = _stained(field), _sample(dim, *(0.5 * _stained(dim).counts.numpy() + 25))
    both = measure_levels([bright, faint], PANEL, PIXEL_SIZE_UM)
    alone = [measure_levels([sample], PANEL, PIXEL_SIZE_UM) for sample in (bright, faint)]
    assert both.leukocytes == sum(levels.leukocytes for levels in alone)
    assert alone[1].scale[0] < both.scale[0] < alone[0].scale[0]


def test_bright_tumour_cells_do_not_raise_the_scale(field):
    tumour = np.arange(len(field.x_px)) % 3 == 0
    ck = field.draw("ring", height=12, seed=2) + field.draw(height=900, which=tumour, background=0, noise=0)
    sample = _sample(field, field.draw(seed=1), ck, field.draw("ring", height=60, seed=3, which=~tumour))
    mixed, plain = (measure_levels([part], PANEL, PIXEL_SIZE_UM) for part in (sample, _stained(field)))
    assert mixed.leukocytes < mixed.cells
    assert mixed.scale == pytest.approx(plain.scale, rel=0.05)


def test_neighbours_do_not_bias_the_level(field, cells_at):
    pairs = cells_at(150, (500, 600), seed=6, least_um=22.0)
    near = np.arange(150) % 2 == 0
    x_px, y_px = (np.concatenate([axis, axis[near] + step]) for axis, step in ((pairs.x_px, 7.0), (pairs.y_px, 2.0)))
    crowded = type(pairs)(x_px, y_px, pairs.shape)
    found = measure_levels([_stained(crowded)], PANEL, PIXEL_SIZE_UM)
    expected = measure_levels([_stained(pairs)], PANEL, PIXEL_SIZE_UM)
    assert found.alone
    assert found.scale == pytest.approx(expected.scale, rel=0.03)


def test_where_every_cell_has_a_neighbour_all_are_used(cells_at):
    pairs = cells_at(60, (500, 600), seed=6, least_um=22.0)
    crowded = type(pairs)(
        np.concatenate([pairs.x_px, pairs.x_px + 9]), np.concatenate([pairs.y_px, pairs.y_px]), pairs.shape
    )
    levels = measure_levels([_stained(crowded)], PANEL, PIXEL_SIZE_UM)
    assert not levels.alone
    assert levels.complete


def test_few_leukocytes_give_background_and_a_note(cells_at):
    few = cells_at(8, (360, 480), seed=2)
    levels = measure_levels([_stained(few)], PANEL, PIXEL_SIZE_UM)
    assert 0 < levels.leukocytes < 20
    assert np.isnan(levels.scale).all()
    assert levels.background == pytest.approx([50, 50, 50], abs=0.3)
    assert not levels.complete
    (note,) = levels.notes
    assert note.flag == "no_leukocytes"
    assert "the model's own levels are used" in note.message


@pytest.mark.parametrize("frames", [0, 1])
def test_an_empty_cartridge_gives_a_note_and_no_scale(cells_at, frames):
    levels = measure_levels([_stained(cells_at(0, (200, 200)))] * frames, PANEL, PIXEL_SIZE_UM)
    assert (levels.leukocytes, levels.cells) == (0, 0)
    assert np.isnan(levels.scale).all()
    assert np.isfinite(levels.background).all() == bool(frames)
    assert [note.flag for note in levels.notes] == ["no_leukocytes"]


def test_a_frame_without_a_free_pixel_takes_the_background_of_detection(cells_at):
    rows, columns = np.mgrid[0:200:6, 0:200:6]
    full = type(cells_at(1, (200, 200)))(columns.ravel().astype(float), rows.ravel().astype(float), (200, 200))
    sample = replace(_sample(full, *[np.full((200, 200), 80, np.float32)] * 3), background=np.array([50.0, 60.0, 70.0]))
    levels = measure_levels([sample], PANEL, PIXEL_SIZE_UM)
    assert levels.background.tolist() == [50.0, 60.0, 70.0]
    assert levels.noise.tolist() == [3.0, 3.0, 3.0]


def test_objects_without_a_nucleus_and_cells_on_unseen_pixels_are_no_leukocytes(field):
    kind = (np.arange(len(field.x_px)) % 2).astype(np.uint8)
    valid = torch.ones(field.shape, dtype=torch.bool)
    valid[:, :240] = False
    all_cells, half, seen = (
        measure_levels([part], PANEL, PIXEL_SIZE_UM).cells
        for part in (_stained(field), _stained(field, kind=kind), _stained(field, valid=valid))
    )
    assert half < 0.7 * all_cells
    assert seen < 0.7 * all_cells


def test_a_background_clipped_to_zero_keeps_a_noise_floor(field):
    channels = [np.clip(channel - 60, 0, 255).round() for channel in _stained(field).counts.numpy()]
    levels = measure_levels([_sample(field, *channels)], PANEL, PIXEL_SIZE_UM)
    assert levels.background.tolist() == [0, 0, 0]
    assert levels.noise == pytest.approx([0.29] * 3)
    assert np.isfinite(levels.scale).all()


def _flags(levels: CartridgeLevels) -> list[str]:
    return [note.flag for note in levels.notes]


def test_a_weak_stain_is_named(field):
    channels = (field.draw(seed=1), field.draw("ring", height=12, seed=2), field.draw("ring", height=15, seed=3))
    levels = measure_levels([_sample(field, *channels)], PANEL, PIXEL_SIZE_UM)
    assert _flags(levels) == ["weak_stain"]
    assert "CD45 is weak" in levels.notes[0].message


def test_swapped_channels_are_named(field):
    good = _stained(field).counts.numpy()
    assert _flags(measure_levels([_sample(field, *good)], PANEL, PIXEL_SIZE_UM)) == []
    levels = measure_levels([_sample(field, good[2], good[1], good[0])], PANEL, PIXEL_SIZE_UM)
    assert "swapped_channels" in _flags(levels)
    assert "DAPI shows rings and CD45 filled discs" in "".join(note.message for note in levels.notes)


@pytest.mark.parametrize(("pixel_size_um", "warned"), [(0.64, False), (0.25, True), (1.6, True)])
def test_a_wrong_pixel_size_is_named(field, pixel_size_um, warned):
    flags = _flags(measure_levels([_stained(field)], PANEL, pixel_size_um))
    assert ("wrong_pixel_size" in flags) == warned


def test_a_panel_without_nucleus_and_leukocyte_channels_is_measured(field):
    panel = Panel("q", (Channel("CK", "epithelial"), Channel("BF", "transmitted")), 12, 0.64)
    sample = _sample(field, field.draw(height=100, seed=1), 100 - field.draw("ring", height=30, seed=2))
    levels = measure_levels([sample], panel, PIXEL_SIZE_UM)
    assert levels.complete
    assert levels.scale[1] > 0
    assert np.isnan(levels.nucleus_diameter_um)


def test_measuring_twice_gives_the_same(field):
    first, second = (measure_levels([_stained(field)], PANEL, PIXEL_SIZE_UM) for _ in range(2))
    assert first.scale.tobytes() == second.scale.tobytes()
    assert first.background.tobytes() == second.background.tobytes()


def test_a_panel_without_a_leukocyte_channel_is_noted(field):
    panel = Panel("q", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial")), 12, 0.64)
    sample = _sample(field, field.draw(seed=1), field.draw("ring", height=12, seed=2))
    levels = measure_levels([sample], panel, PIXEL_SIZE_UM)
    assert _flags(levels) == ["no_leukocyte_channel"]
    assert "all nucleated cells were used" in levels.notes[0].message
    assert f"{levels.leukocytes} of {levels.cells}" in levels.notes[0].message
    assert _flags(measure_levels([_stained(field)], PANEL, PIXEL_SIZE_UM)) == []


@pytest.mark.parametrize("bleed", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("clipped", [True, False])
def test_tumour_cells_that_spill_over_are_not_silently_leukocytes(field, bleed: float, clipped: bool):
    ck = field.draw(height=2000, background=0, noise=0)
    images = [field.draw(seed=1), ck, bleed * ck]
    if clipped:
        channels = [np.clip(image, 0, 4095).round().astype(np.float32) for image in images]
    else:
        draws = np.random.default_rng(5)
        channels = [(image + draws.normal(50, 1, image.shape)).astype(np.float32) for image in images]
    levels = measure_levels([_sample(field, *channels)], PANEL, PIXEL_SIZE_UM)
    assert levels.leukocytes >= 20
    notes = [note.message for note in levels.notes if note.flag == "leukocytes_look_like_tumour"]
    assert len(notes) == 1
    assert "CK spills over into CD45" in notes[0]
    assert "no leukocytes on the slide" in notes[0]


@pytest.mark.parametrize("ck_height", [0, 12, 60, 150])
def test_leukocytes_with_some_ck_do_not_look_like_tumour_cells(field, ck_height: float):
    channels = (field.draw(seed=1), field.draw("ring", height=ck_height, seed=2), field.draw("ring", height=60, seed=3))
    levels = measure_levels([_sample(field, *channels)], PANEL, PIXEL_SIZE_UM)
    assert "leukocytes_look_like_tumour" not in _flags(levels)
