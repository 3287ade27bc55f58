"""Effects: switches and names, nothing changes without them, each changes the crops, seeds, classes stay defined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ctcnet.cli.main import main
from ctcnet.errors import SettingError
from ctcnet.panel import Channel, Panel, load_panel
from ctcnet.resources import resource_dir
from ctcnet.simulate.composition import CLASSES, IS_CTC, IS_LEUKOCYTE, NEIGHBOUR_GAP_UM, compose
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.crop_writer import write_simulated_crops
from ctcnet.simulate.dense_specks import draw_specks
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.scene_variation import SceneVariation
from ctcnet.simulate.surroundings import OVERLAP_UM

pytestmark = pytest.mark.unit
PANELS = sorted(file.stem for file in (resource_dir("configs") / "panels").glob("*.yaml"))
GROUPS = 24


def _sample(panel: Panel, *, count: int = 48, **options: object) -> np.ndarray:
    simulator = CropSimulator(panel, num_groups=GROUPS, scanners=2, **options)  # type: ignore[arg-type]
    return simulator.sample(torch.arange(count) % len(CLASSES), torch.arange(count) % GROUPS).counts.numpy()


@pytest.fixture(scope="module")
def plain(five_colour: Panel) -> np.ndarray:
    """Crops of a simulator that was told nothing of effects."""
    return _sample(five_colour, seed=4)


FIRST_EDITION_MEANS = {
    "ctc5": (99.9794, 70.6639, 104.1822, 79.5349, 71.8596),
    "rgb_merge": (13.7387, 19.6115, 11.1994),
    "imaging_flow": (1698.4927, 84.3634, 103.203),
}
"""Mean counts of each channel of `_sample` with seed 4, by the simulator as it was before there were effects (5fb3f0b).
Another draw of the noise alone would move them by 0.02; rounding on another CPU by less than 0.001."""


@pytest.mark.parametrize("name", FIRST_EDITION_MEANS)
def test_without_effects_the_crops_are_those_of_the_first_edition(name: str) -> None:
    counts = _sample(load_panel(name), seed=4, effects=Effects.none())
    np.testing.assert_allclose(counts.astype(float).mean((0, 2, 3)), FIRST_EDITION_MEANS[name], atol=1e-3)


@pytest.mark.parametrize("name", Effects.known())
def test_each_effect_changes_the_crops_by_its_seed(name: str, five_colour: Panel, plain: np.ndarray) -> None:
    effects = Effects.from_names([name])
    assert effects.names == (name,)
    crops = _sample(five_colour, seed=4, effects=effects)
    assert (crops != plain).any()
    np.testing.assert_array_equal(crops, _sample(five_colour, seed=4, effects=effects))
    assert (crops != _sample(five_colour, seed=5, effects=effects)).any()


@pytest.mark.parametrize("name", PANELS)
def test_every_panel_renders_with_all_effects(name: str) -> None:
    panel = load_panel(name)
    counts = _sample(panel, seed=0, effects=Effects.all())
    assert counts.max() <= panel.full_scale
    assert (counts.astype(float).std((2, 3)) > 0).mean() > 0.8


def test_names() -> None:
    assert Effects.from_names("none") == Effects.none() == Effects()
    assert Effects.from_names("all") == Effects.all()
    assert Effects.from_names("jpeg, motion") == Effects(jpeg=True, motion=True)
    assert Effects.from_names(Effects.all().names) == Effects.all()
    with pytest.raises(SettingError, match="dense_specks"):
        Effects.from_names("jpg")
    with pytest.raises(SettingError, match="unknown"):
        Effects.from_names("all,jpeg")


def test_clipped_background_is_zero_in_some_groups_only(five_colour: Panel) -> None:
    counts = _sample(five_colour, seed=1, effects=Effects(clipped_background=True))
    zero = (counts == 0).mean((2, 3))
    assert zero.max() > 0.8
    assert zero.min() < 0.01


def test_specks_have_the_density_of_their_group(five_colour: Panel) -> None:
    simulator = CropSimulator(five_colour, num_groups=GROUPS, effects=Effects(dense_specks=True))
    index = torch.arange(240) % GROUPS
    groups, levels = simulator.groups.rows(index), simulator.levels.rows(index)
    draws = Draws.from_seed(0, torch.device("cpu"))
    bodies = compose(torch.full((240,), IS_LEUKOCYTE), groups, five_colour.roles, 50.0, draws).bodies
    sigma_um = torch.full((240, 5), 0.4)
    specks = draw_specks(bodies.rows(bodies.crop < 0), levels, sigma_um, 0.64, 50.0, draws)
    number = torch.bincount(specks.channel, minlength=5)
    expected = (levels.specks_per_mm2 * 50.0**2 * 1e-6).sum(0)
    torch.testing.assert_close(number.float(), expected, rtol=0.1, atol=0)
    assert int(number[0]) == 0
    assert int(number.argmax()) == 1
    assert float(levels.specks_per_mm2[:, 1].max() / levels.specks_per_mm2[:, 1].min()) > 20
    with_cells = draw_specks(bodies, levels, sigma_um, 0.64, 50.0, draws)
    assert len(with_cells.channel) > len(specks.channel) + 240


def test_saturation_reaches_full_scale() -> None:
    roles = (("DAPI", "nucleus"), ("CK", "epithelial"), ("CD45", "leukocyte"))
    panel = Panel("slide", tuple(Channel(*role) for role in roles), 8, 0.591)
    counts = _sample(panel, seed=0, effects=Effects(saturation=True))
    assert (counts[:, :2] == 255).any((0, 2, 3)).all()
    assert (counts == 255).mean() < 0.1


def _gaps_in_a_crowd(panel: Panel, label: int) -> torch.Tensor:
    """Gaps in um between the circles of each neighbour and each body of its event, over 200 crowded crops."""
    simulator = CropSimulator(panel, num_groups=GROUPS, effects=Effects.all())
    index = torch.arange(200) % GROUPS
    groups, draws = simulator.groups.rows(index), Draws.from_seed(0, torch.device("cpu"))
    variation = SceneVariation(Effects(crowding=True, leukocyte_variety=True), simulator.levels.rows(index), draws)
    labels = torch.full((200,), label)
    scene = compose(labels, groups, panel.roles, 45.0, draws, variation.make_bodies, variation.surround)
    event, around = scene.bodies.rows(torch.arange(600)), scene.bodies.rows(torch.arange(600, len(scene.bodies.crop)))
    event, around = event.rows(event.present), around.rows(around.present)
    assert len(around.crop) > 100
    gap = torch.cdist(around.centre, event.centre) - around.radius[:, None] - event.radius
    return gap[around.crop[:, None] == event.crop]


def test_neighbours_in_a_crowd_keep_out_of_contact_with_a_ctc(five_colour: Panel) -> None:
    assert float(_gaps_in_a_crowd(five_colour, IS_CTC).min()) >= NEIGHBOUR_GAP_UM - 1e-3


def test_leukocytes_in_a_crowd_may_touch_a_leukocyte(five_colour: Panel) -> None:
    gap = _gaps_in_a_crowd(five_colour, IS_LEUKOCYTE)
    assert int((gap < 0).sum()) > 20
    assert float(gap.min()) >= -OVERLAP_UM - 1e-3


def test_command_records_effects(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--count", "10", "--seed", "1", "--groups", "2", "--effects", "jpeg,dense_specks"]
    assert main(["simulate", "crops", str(out), *options]) == 0
    assert json.loads((out / "simulation.json").read_text())["effects"] == ["dense_specks", "jpeg"]
    assert main(["simulate", "crops", str(tmp_path / "bad"), *options[:-1], "blur"]) == 2


def test_files_without_effects_say_so(tmp_path: Path) -> None:
    manifest = write_simulated_crops(tmp_path / "out", count=5, seed=0, groups=1)
    assert json.loads((manifest.parent / "simulation.json").read_text())["effects"] == []
