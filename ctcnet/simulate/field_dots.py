"""Specks and platelets between the cells, tile by tile, so that every frame that shows a tile shows the same dots."""

from __future__ import annotations

import torch

from ctcnet.simulate.cells import CTC
from ctcnet.simulate.composition import PLATELET_GAP_UM
from ctcnet.simulate.dots import platelets, specks_at
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.field_scene import TILE_STREAM, FieldScene, stream_seed
from ctcnet.simulate.objects import Dots


class TileDots:
    """Dots of any tile of the cartridge; tiles are the areas between the frames' left and upper borders."""

    def __init__(self, scene: FieldScene, grid: FieldGrid) -> None:
        self._scene = scene
        self._size_um = torch.tensor([grid.step_x_px, grid.step_y_px]) * grid.pixel_size_um
        bodies = scene.bodies
        tumour = torch.nonzero(bodies.kind == CTC)[:, 0]
        self._tumour_um, self._tumour_radius_um = bodies.centre[tumour], bodies.radius[tumour]

    def specks(self, row: int, column: int) -> Dots:
        """Specks of unbound stain of one tile, in um of the cartridge. Rows and columns from -1 (beyond the edge)."""
        return self._draw(row, column, self._scene.specks_per_mm2, 0)

    def platelets(self, row: int, column: int) -> Dots:
        """Free platelets of one tile; none nearer than `composition.PLATELET_GAP_UM` to a CTC's outline."""
        return self._draw(row, column, self._scene.platelets_per_mm2, 1)

    def _draw(self, row: int, column: int, per_mm2: float, kind: int) -> Dots:
        seed = stream_seed(self._scene.seed, TILE_STREAM, row + 1, column + 1, kind)
        draws = Draws.from_seed(seed, torch.device("cpu"))
        mean = per_mm2 * float(self._size_um.prod()) * 1e-6
        count = int(draws.poisson(torch.tensor([mean]))[0])
        corner_um = torch.tensor([column, row]) * self._size_um
        centre = corner_um + draws.uniform((1, count, 2)) * self._size_um
        present = torch.ones((1, count), dtype=torch.bool)
        crop = torch.zeros(1, dtype=torch.long)
        if kind == 0:
            return specks_at(crop, centre, present, self._scene.group, self._scene.roles, draws)
        near = ((self._tumour_um - corner_um - self._size_um / 2).abs() < self._size_um).all(dim=1)
        distance = torch.cdist(centre[0], self._tumour_um[near])
        present &= (distance > self._tumour_radius_um[near] + PLATELET_GAP_UM).all(dim=1)
        return platelets(crop, centre, present, self._scene.group, self._scene.roles, draws)
