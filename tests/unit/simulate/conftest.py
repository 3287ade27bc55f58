"""Shared by the simulator's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from ctcnet.panel import Panel, load_panel
from ctcnet.simulate.cells import UNIT_ELECTRONS
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.scene_variation import SceneVariation

BODIES, CARTRIDGES = 6000, 60
BodyTable = Callable[[str, Effects, Callable[[Groups, Draws], Tensor]], dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def five_colour() -> Panel:
    """The shipped five-colour panel."""
    return load_panel("ctc5")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are drawn faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def body_table() -> BodyTable:
    """Bodies of many cartridges of a panel under effects, given what draws their kinds (N,): `diameter_um` (N,), and
    for each role its stain (N,) in units of the leukocytes' level, before optics and specks.
    """

    def make(panel_name: str, effects: Effects, kinds: Callable[[Groups, Draws], Tensor]) -> dict[str, np.ndarray]:
        panel = load_panel(panel_name)
        simulator = CropSimulator(panel, num_groups=CARTRIDGES, effects=effects)
        index = torch.arange(BODIES) % CARTRIDGES
        groups, levels = simulator.groups.rows(index), simulator.levels.rows(index)
        draws = Draws.from_seed(0, torch.device("cpu"))
        variation, kind = SceneVariation(effects, levels, draws), kinds(groups, draws)
        bodies = variation.make_bodies(kind, torch.arange(BODIES), groups, panel.roles, draws)
        found = {"diameter_um": (2 * bodies.radius).numpy()}
        for channel, role in enumerate(panel.roles):
            if role in UNIT_ELECTRONS and role != "none":
                electrons = UNIT_ELECTRONS[role] * groups.stain[:, channel]
                found[role] = (bodies.amplitude[:, channel, 1:].sum(1) / electrons).numpy()
        return found

    return make
