"""What lies around an event when the field is crowded or dirty.

Rule: every leukocyte and every piece of clutter but a fibre keeps `composition.NEIGHBOUR_GAP_UM` between its circle
and those of the event; projected gaps between 0 and that are never made, so that contact, and with it the class,
stays defined however near a neighbour lies. Where the event is a leukocyte, or leukocytes, other leukocytes may touch
and overlap it: it stays one, and contact alone must not look like a cluster with a CTC. Neighbours may overlap each
other, and fibres may cross anything.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ctcnet.simulate import cells
from ctcnet.simulate.cells import AGGREGATE, FIBRE, FRAGMENT, MONOCYTE
from ctcnet.simulate.composition import NEIGHBOUR_GAP_UM, BodyMaker, bodies_apart
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import Bodies

CROWD_MOST = 16
"""Most neighbours of a crop; those beyond, in large fields at the highest densities, are left out."""
BESIDE_MOST = 3
"""Most neighbours that are put right beside the event."""
BESIDE_SHARE, BESIDE_GAP_UM = 0.35, 2.5
"""Share of crops with neighbours right beside the event, whatever its class, and their greatest gap beyond the rule
(slide: 15 to 29 % of the cells have a neighbour within 10 um)."""
TOUCHING_SHARE, CLOSER_UM = 0.6, 2.5
"""Share of those beside a leukocyte that are moved nearer, into contact."""
OVERLAP_UM = 4.0
"""Most that the circles of two neighbours overlap."""
CLUTTER_KINDS, CLUTTER_SHARES = (FRAGMENT, AGGREGATE, FIBRE), (0.45, 0.4, 0.15)


def crowd(
    event: list[Bodies], groups: Groups, roles: tuple[str, ...], field_um: float, make: BodyMaker, draws: Draws
) -> Bodies:
    """Leukocytes around the events, Poisson at the group's density, some of them right beside the event."""
    main = event[0]
    count = len(main.crop)
    number = draws.poisson(groups.leukocytes_per_mm2 * field_um**2 * 1e-6).clamp_max(CROWD_MOST)
    beside = draws.integers((count,), 1, BESIDE_MOST) * draws.chance((count,), BESIDE_SHARE) * main.present
    number = torch.maximum(number, beside)
    crop, slot = torch.nonzero(torch.arange(CROWD_MOST, device=draws.device) < number[:, None], as_tuple=True)
    own = groups.rows(crop)
    bodies = make(draws.choose(own.leukocyte_shares), main.crop[crop], own, roles, draws)
    anywhere = draws.uniform((len(crop), 2), -field_um / 2, field_um / 2)
    distance = main.radius[crop] + bodies.radius + NEIGHBOUR_GAP_UM + draws.uniform((len(crop),), 0.0, BESIDE_GAP_UM)
    harmless = _leukocytes_alone(event)[crop]
    gap = torch.where(harmless, -draws.uniform((len(crop),), 0.0, OVERLAP_UM), NEIGHBOUR_GAP_UM)
    distance = torch.where(harmless & draws.chance((len(crop),), TOUCHING_SHARE), distance - CLOSER_UM, distance)
    near = main.centre[crop] + cells.touching(draws.angle((len(crop),)), distance)
    bodies = replace(bodies, centre=torch.where((slot < beside[crop])[:, None], near, anywhere))
    free = bodies_apart(bodies, [b.rows(crop) for b in event], gap)
    return replace(bodies, present=free & _unburied(bodies, crop, slot, free, count, draws))


def _leukocytes_alone(event: list[Bodies]) -> Tensor:
    """Events (N,) that are leukocytes and nothing else, bool."""
    main = event[0]
    alone = (main.kind <= MONOCYTE) & main.present
    for body in event[1:]:
        alone &= (body.kind <= MONOCYTE) | ~body.present
    return alone


def _unburied(bodies: Bodies, crop: Tensor, slot: Tensor, free: Tensor, count: int, draws: Draws) -> Tensor:
    """Which bodies overlap those of lower slots in their crop by no more than a drawn length up to `OVERLAP_UM`."""
    place = bodies.centre.new_zeros((count, CROWD_MOST, 2)).index_put((crop, slot), bodies.centre)
    radius = bodies.radius.new_zeros((count, CROWD_MOST)).index_put((crop, slot), bodies.radius)
    kept = torch.zeros_like(radius, dtype=torch.bool).index_put((crop, slot), free)
    overlap = draws.uniform((count, CROWD_MOST, 1), 0.0, OVERLAP_UM)
    near = torch.cdist(place, place) < radius[:, :, None] + radius[:, None, :] - overlap
    for row in range(1, CROWD_MOST):
        kept[:, row] &= ~(near[:, row, :row] & kept[:, :row]).any(1)
    return kept[crop, slot]


def clutter(
    event: list[Bodies],
    per_mm2: Tensor,
    groups: Groups,
    roles: tuple[str, ...],
    field_um: float,
    make: BodyMaker,
    draws: Draws,
) -> Bodies:
    """Vesicles, bubbles, fibres and aggregates (at most one a crop) at `per_mm2` (N,), apart from the event."""
    crop = torch.nonzero(draws.poisson(per_mm2 * field_um**2 * 1e-6) > 0)[:, 0]
    shares = torch.tensor(CLUTTER_SHARES, device=draws.device).repeat(len(crop), 1)
    kind = torch.tensor(CLUTTER_KINDS, device=draws.device)[draws.choose(shares)]
    bodies = make(kind, event[0].crop[crop], groups.rows(crop), roles, draws)
    bodies = replace(bodies, centre=draws.uniform((len(crop), 2), -field_um / 2, field_um / 2))
    apart = bodies_apart(bodies, [b.rows(crop) for b in event], NEIGHBOUR_GAP_UM)
    return replace(bodies, present=apart | (kind == FIBRE))
