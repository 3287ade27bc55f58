"""Everything that lies in a simulated cartridge, in its own coordinates, whatever frames are cut from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ctcnet.panel import Panel
from ctcnet.simulate.composition import IS_LEUKOCYTE, NEIGHBOUR_GAP_UM
from ctcnet.simulate.crop_simulator import TEXTURES
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.field_events import EventNumbers, FieldEvents, draw_events
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.field_placement import place_circles
from ctcnet.simulate.groups import Groups, draw_groups
from ctcnet.simulate.objects import Bodies, Dots

LEUKOCYTE_OVERLAP_UM = 0.8
"""By how much the circles of two leukocytes may overlap (real ones touch, but hardly overlap)."""
EVENT_GAP_UM = 3.0
"""Least distance between two events other than leukocytes."""
PATIENT_STREAM, EVENT_STREAM, PLACE_STREAM, TILE_STREAM, FRAME_STREAM = range(5)


def stream_seed(seed: int, *key: int) -> int:
    """Seed of one of the independent streams of random numbers that `seed` stands for."""
    return int(np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True)
class FieldScene:
    """A cartridge's content.

    Attributes:
        seed: from which everything follows.
        roles: what each channel shows, see `rendered_roles`.
        group: the patient and the scanner, one row.
        events: events; the places of their bodies and dots are in um of the cartridge.
        centre_um: (E, 2) float64, place of each event's origin.
        texture: (2, M) int64, textures of each body's nucleus and cytoplasm.
        specks_per_mm2, platelets_per_mm2: density of free specks and platelets.
        rim_um: width of the band along the cartridge's edge that holds its wall and no cell.
    """

    seed: int
    roles: tuple[str, ...]
    group: Groups
    events: FieldEvents
    centre_um: np.ndarray
    texture: Tensor
    specks_per_mm2: float
    platelets_per_mm2: float
    rim_um: float

    @property
    def bodies(self) -> Bodies:
        """All bodies, in um of the cartridge."""
        return self.events.bodies

    @property
    def dots(self) -> Dots:
        """Platelets that belong to events, in um of the cartridge."""
        return self.events.dots


def rendered_roles(panel: Panel) -> tuple[str, ...]:
    """Role that each channel is drawn with: that of the panel, save that channels without a role still show something.

    One with a dye stains a quarter of the leukocytes, the small ones (FITC on a real slide: 24 %, 7.7 um); one without
    a dye is transmitted light.
    """
    without = {True: "transmitted", False: "t_cell"}
    return tuple(without[c.fluorophore is None] if c.role == "none" else c.role for c in panel.channels)


def draw_patient(panel: Panel, seed: int, difficulty: float) -> Groups:
    """The one patient and scanner of a cartridge; see `groups.draw_groups`."""
    drawn = [replace(c, role=role) for c, role in zip(panel.channels, rendered_roles(panel), strict=True)]
    shown = replace(panel, channels=tuple(drawn))
    return draw_groups(shown, 1, 1, Draws.from_seed(stream_seed(seed, PATIENT_STREAM), torch.device("cpu")), difficulty)


def compose_field(
    panel: Panel,
    grid: FieldGrid,
    numbers: EventNumbers,
    *,
    seed: int,
    group: Groups,
    rim_um: float = 0.0,
    specks_per_mm2: float | None = None,
) -> FieldScene:
    """Draw what lies in the cartridge and where.

    Leukocytes may touch each other by chance; all other events keep `NEIGHBOUR_GAP_UM` from every cell that is not
    theirs, so that their class is true. Events other than leukocytes lie whole within the scanned area.

    Raises:
        SettingError: the events do not fit.
    """
    roles = rendered_roles(panel)
    draws = Draws.from_seed(stream_seed(seed, EVENT_STREAM), torch.device("cpu"))
    events = draw_events(numbers, group, roles, draws)
    centre_um = _place(events, grid, rim_um, np.random.default_rng([seed, PLACE_STREAM]))
    shift = torch.from_numpy(centre_um).float()
    moved = replace(
        events,
        bodies=replace(events.bodies, centre=events.bodies.centre + shift[events.bodies.crop]),
        dots=replace(events.dots, centre=events.dots.centre + shift[events.dots.crop]),
    )
    return FieldScene(
        seed=seed,
        roles=roles,
        group=group,
        events=moved,
        centre_um=centre_um,
        texture=draws.integers((2, len(events.bodies.crop)), 0, TEXTURES - 1),
        specks_per_mm2=float(group.specks_per_mm2[0]) if specks_per_mm2 is None else specks_per_mm2,
        platelets_per_mm2=float(group.platelets_per_mm2[0]),
        rim_um=rim_um,
    )


def _place(events: FieldEvents, grid: FieldGrid, rim_um: float, rng: np.random.Generator) -> np.ndarray:
    leukocyte = (events.label == IS_LEUKOCYTE).numpy()
    margin = np.where(leukocyte, -LEUKOCYTE_OVERLAP_UM / 2, LEUKOCYTE_OVERLAP_UM / 2 + NEIGHBOUR_GAP_UM)
    margin = np.where(leukocyte, margin, np.maximum(margin, EVENT_GAP_UM / 2))
    radius = events.reach_um.copy()
    rows = events.bodies.crop.numpy()
    of_cell = events.bodies.radius.double().numpy()
    radius[rows[leukocyte[rows]]] = of_cell[leukocyte[rows]]
    inset = (rim_um + np.where(leukocyte & (rim_um == 0), 0.0, radius))[:, None]
    size_um = np.array([grid.width_px, grid.height_px]) * grid.pixel_size_um
    half_px_um = grid.pixel_size_um / 2
    return place_circles(radius + margin, inset - half_px_um, size_um - inset - half_px_um, rng)
