"""What effects change in the scenes that `composition.compose` draws."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ctcnet.simulate import cells, surroundings
from ctcnet.simulate.composition import ordinary_neighbours
from ctcnet.simulate.diverse_bodies import diversify_debris, diversify_leukocytes, diversify_tumour_cells
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effect_levels import EffectLevels
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import Bodies


@dataclass(frozen=True)
class SceneVariation:
    """Makes bodies and surroundings of a batch of crops under effects.

    Attributes:
        effects: those that are on.
        levels: strengths of each crop, N rows.
        draws: of the effects alone.
    """

    effects: Effects
    levels: EffectLevels
    draws: Draws

    def make_bodies(self, kind: Tensor, crop: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Bodies:
        """As `cells.make_bodies`, then diversified."""
        bodies = cells.make_bodies(kind, crop, groups, roles, draws)
        if self.effects.leukocyte_variety:
            bodies = diversify_leukocytes(bodies, groups, self.levels.rows(crop), roles, self.draws)
        if self.effects.cytoplasm:
            bodies = diversify_tumour_cells(bodies, groups, roles, self.draws)
        if self.effects.vesicles:
            bodies = diversify_debris(bodies, groups, roles, self.draws)
        return bodies

    def surround(
        self, event: list[Bodies], groups: Groups, roles: tuple[str, ...], field_um: float, draws: Draws
    ) -> list[Bodies]:
        """Neighbours, and clutter apart from the event."""
        if self.effects.crowding:
            around = [surroundings.crowd(event, groups, roles, field_um, self.make_bodies, self.draws)]
        else:
            around = ordinary_neighbours(event, groups, roles, field_um, draws, self.make_bodies)
        if self.effects.vesicles:
            density = self.levels.clutter_per_mm2
            around.append(surroundings.clutter(event, density, groups, roles, field_um, self.make_bodies, self.draws))
        return around
