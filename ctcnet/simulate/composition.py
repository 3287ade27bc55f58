"""From class names to what lies in each crop, with the geometric rules that make the labels true.

Rules, between circles of the bodies' areas, projected:
- contact: a partner belongs to the event when its circle overlaps the CTC's by 0.2 to 2.5 um;
- no contact: every other cell keeps at least `NEIGHBOUR_GAP_UM` between its circle and those of the event;
  nothing is generated in between. A neutrophil beside a CTC without contact makes no cluster.
- platelets: `dots.ADHERENT_LEAST` or more within 1 um of the CTC's circle make a CTC-platelet cluster; free platelets
  keep `PLATELET_GAP_UM` from the circle of any CTC.
- a CTC that touches a neutrophil and carries platelets is a ctc_neutrophil_cluster; one that touches another leukocyte,
  or two CTCs that touch, are ctc.
- debris has no intact nucleus within an intact membrane, or lies so far out of focus that nobody could tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ctcnet.simulate import cells, dots
from ctcnet.simulate.cells import CTC, GRANULOCYTE, LYMPHOCYTE, MONOCYTE
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import Bodies, Dots

CLASSES: tuple[str, ...] = ("ctc", "leukocyte", "ctc_neutrophil_cluster", "ctc_platelet_cluster", "debris")
"""Classes that can be simulated, in the order of the shipped schema 'five_class'."""
IS_CTC, IS_LEUKOCYTE, IS_NEUTROPHIL_CLUSTER, IS_PLATELET_CLUSTER, IS_DEBRIS = range(len(CLASSES))

NEIGHBOUR_GAP_UM = 0.5
PLATELET_GAP_UM = 1.2
NEIGHBOURS_MOST = 5
NEAR_MISS_SHARE = 0.35
"""Share of crops with a leukocyte within 4 um of the event (at 1,800 per mm2, 43 % have one within 10 um by chance)."""
JITTER_UM = 1.0
"""SD of the event's place around the crop's centre."""

DEBRIS_SHARES: tuple[float, ...] = (0.24, 0.2, 0.22, 0.1, 0.13, 0.07, 0.04)
DEBRIS_FORMS: tuple[str, ...] = (
    "fragment",
    "bare_nucleus",
    "apoptotic",
    "aggregate",
    "smear",
    "platelet_clump",
    "fibre",
)
SMEAR, CLUMP = DEBRIS_FORMS.index("smear"), DEBRIS_FORMS.index("platelet_clump")
SMEAR_DEFOCUS_UM = (8.5, 16.0)
SHARP_DEFOCUS_UM = 7.0
"""Events that are not smears lie nearer to the focal plane than this."""

BodyMaker = Callable[[Tensor, Tensor, Groups, tuple[str, ...], Draws], Bodies]
"""Bodies of kinds (M,) in crops (M,), given groups of M rows, roles and draws; as `cells.make_bodies`."""
Surrounder = Callable[[list[Bodies], Groups, tuple[str, ...], float, Draws], list[Bodies]]
"""Bodies around events, given groups, roles, side of the field and draws; as `ordinary_neighbours`."""


@dataclass(frozen=True)
class Scene:
    """What lies in N crops.

    Attributes:
        bodies: cells and the like.
        dots: platelets, specks and probe spots.
        defocus_um: (N,) distance of the event from the focal plane.
        tumour_cells: (N,) int64, CTCs of the event.
        partners: (N,) int64, leukocytes of the event beside a CTC, or beside the first leukocyte.
        floaters: cells far out of focus by themselves, see `ctcnet.simulate.floaters`; none as `compose` leaves it.
    """

    bodies: Bodies
    dots: Dots
    defocus_um: Tensor
    tumour_cells: Tensor
    partners: Tensor
    floaters: Dots


def compose(
    labels: Tensor,
    groups: Groups,
    roles: tuple[str, ...],
    field_um: float,
    draws: Draws,
    make: BodyMaker = cells.make_bodies,
    surround: Surrounder | None = None,
    depth_scale: float = 1.0,
) -> Scene:
    """Draw the scene of each crop.

    Args:
        labels: (N,) int64, rows of `CLASSES`.
        groups: patient of each crop, N rows.
        roles: role of each channel.
        field_um: side of the crop with the margin in which objects still shine in.
        make: makes all bodies.
        surround: puts bodies around the events; `ordinary_neighbours` where None.
        depth_scale: factor on distances from the focal plane, which are drawn for an aperture of 0.45, so that what is
            too blurred to be told stays the same at any other.
    """
    count = len(labels)
    crop = torch.arange(count, device=draws.device)
    form = draws.choose(torch.tensor(DEBRIS_SHARES, device=draws.device).repeat(count, 1))
    is_debris = labels == IS_DEBRIS
    main = _main(labels, form, crop, groups, roles, draws, make)
    second, third = _partners(labels, main, groups, roles, draws, make)
    main, second, third = _centre_event([main, second, third], draws)
    event = [main, second, third]
    around = surround(event, groups, roles, field_um, draws) if surround else None
    neighbours = ordinary_neighbours(event, groups, roles, field_um, draws, make) if around is None else around
    scattered = _dots(labels, is_debris & (form == CLUMP), event, groups, roles, field_um, draws)
    return Scene(
        bodies=Bodies.concatenate([*event, *neighbours]),
        dots=scattered,
        defocus_um=_defocus(is_debris & (form == SMEAR), groups, draws) * depth_scale,
        tumour_cells=sum(((b.kind == CTC) & b.present).long() for b in event) * ~is_debris,  # type: ignore[operator]
        partners=sum(((b.kind <= MONOCYTE) & b.present).long() for b in (second, third)) * ~is_debris,  # type: ignore[operator]
        floaters=scattered.rows(torch.zeros_like(scattered.crop, dtype=torch.bool)),
    )


def _leukocyte_kind(groups: Groups, draws: Draws) -> Tensor:
    return draws.choose(groups.leukocyte_shares)


def _main(
    labels: Tensor,
    form: Tensor,
    crop: Tensor,
    groups: Groups,
    roles: tuple[str, ...],
    draws: Draws,
    make: BodyMaker,
) -> Bodies:
    """The first body of each event."""
    leukocyte = _leukocyte_kind(groups, draws)
    by_form = torch.tensor(
        [cells.FRAGMENT, cells.BARE_NUCLEUS, cells.APOPTOTIC, cells.AGGREGATE, LYMPHOCYTE, LYMPHOCYTE, cells.FIBRE],
        device=draws.device,
    )[form]
    smeared = torch.where(draws.chance((len(labels),), 0.5), leukocyte, CTC)
    debris = torch.where(form == SMEAR, smeared, by_form)
    kind = torch.where(labels == IS_LEUKOCYTE, leukocyte, torch.where(labels == IS_DEBRIS, debris, CTC))
    bodies = make(kind, crop, groups, roles, draws)
    return replace(bodies, present=~((labels == IS_DEBRIS) & (form == CLUMP)))


def _partners(
    labels: Tensor, main: Bodies, groups: Groups, roles: tuple[str, ...], draws: Draws, make: BodyMaker
) -> tuple[Bodies, Bodies]:
    """Up to two bodies that touch the first one."""
    count = len(labels)
    chance = draws.uniform((count,))
    ctc, platelet, neutrophil = labels == IS_CTC, labels == IS_PLATELET_CLUSTER, labels == IS_NEUTROPHIL_CLUSTER
    tumour = (ctc & (chance < 0.12)) | (platelet & (chance < 0.1))
    other = (ctc & (chance > 0.72)) | (platelet & (chance > 0.94))
    doublet = (labels == IS_LEUKOCYTE) & (chance < 0.12)
    mononuclear = torch.where(draws.chance((count,), 0.6), LYMPHOCYTE, MONOCYTE)
    leukocyte = _leukocyte_kind(groups, draws)
    kind = torch.where(tumour, CTC, torch.where(other, mononuclear, torch.where(doublet, leukocyte, GRANULOCYTE)))
    angle = draws.angle((count,))
    second = _touching(make(kind, main.crop, groups, roles, draws), main, angle, draws)
    second = replace(second, present=tumour | other | doublet | neutrophil)
    third = make(torch.full_like(kind, GRANULOCYTE), main.crop, groups, roles, draws)
    third = _touching(third, main, angle + draws.uniform((count,), 1.8, 4.4), draws)
    return second, replace(third, present=neutrophil & (chance < 0.25))


def _touching(bodies: Bodies, main: Bodies, angle: Tensor, draws: Draws) -> Bodies:
    overlap_um = draws.uniform((len(angle),), 0.2, 2.5)
    return replace(bodies, centre=cells.touching(angle, main.radius + bodies.radius - overlap_um))


def _centre_event(event: list[Bodies], draws: Draws) -> list[Bodies]:
    """Shift each event so that the centre of its area lies near the crop's centre."""
    area = torch.stack([cells.area_um2(b) * b.present for b in event])
    places = torch.stack([b.centre for b in event])
    mean = (area[:, :, None] * places).sum(0) / area.sum(0).clamp_min(1e-3)[:, None]
    shift = draws.normal(tuple(mean.shape), JITTER_UM) - mean
    return [replace(b, centre=b.centre + shift) for b in event]


def bodies_apart(bodies: Bodies, others: list[Bodies], gap_um: float | Tensor) -> Tensor:
    """Which bodies keep `gap_um`, one or (M,), from every one present among the others."""
    apart = torch.ones_like(bodies.present)
    for other in others:
        distance = (bodies.centre - other.centre).norm(dim=1)
        apart &= (distance >= bodies.radius + other.radius + gap_um) | ~other.present
    return apart


def ordinary_neighbours(
    event: list[Bodies],
    groups: Groups,
    roles: tuple[str, ...],
    field_um: float,
    draws: Draws,
    make: BodyMaker = cells.make_bodies,
) -> list[Bodies]:
    """Leukocytes around the event, Poisson at the patient's density, those too near to it left out."""
    count = len(event[0].crop)
    number = draws.poisson(groups.leukocytes_per_mm2 * field_um**2 * 1e-6)
    placed: list[Bodies] = []
    for slot in range(NEIGHBOURS_MOST):
        body = make(_leukocyte_kind(groups, draws), event[0].crop, groups, roles, draws)
        body = replace(body, centre=draws.uniform((count, 2), -field_um / 2, field_um / 2))
        if slot == 0:
            body, number = _near_miss(body, number, event[0], draws)
        free = bodies_apart(body, event, NEIGHBOUR_GAP_UM) & bodies_apart(body, placed, -1.0)
        placed.append(replace(body, present=free & (number > slot)))
    return placed


def _near_miss(body: Bodies, number: Tensor, main: Bodies, draws: Draws) -> tuple[Bodies, Tensor]:
    """Put the body close to the event, but out of contact, in `NEAR_MISS_SHARE` of the crops, whatever their class."""
    count = len(number)
    near = draws.chance((count,), NEAR_MISS_SHARE) & main.present
    distance = main.radius + body.radius + NEIGHBOUR_GAP_UM + draws.uniform((count,), 0.0, 3.0)
    beside = main.centre + cells.touching(draws.angle((count,)), distance)
    number = torch.where(near, number.clamp_min(1), number)
    return replace(body, centre=torch.where(near[:, None], beside, body.centre)), number


def _dots(
    labels: Tensor,
    clump: Tensor,
    event: list[Bodies],
    groups: Groups,
    roles: tuple[str, ...],
    field_um: float,
    draws: Draws,
) -> Dots:
    main, second, third = event
    crop = main.crop
    tables = [dots.specks(crop, field_um, groups, roles, draws)]
    tables.append(dots.adherent_platelets(main, _adherent_number(labels, groups, draws), groups, roles, draws))
    tables.append(dots.platelet_clump(crop, clump, groups, roles, draws))
    tumour = [replace(b, present=b.present & (b.kind == CTC)) for b in event]
    tables.append(dots.free_platelets(crop, field_um, tumour, PLATELET_GAP_UM, groups, roles, draws))
    if "probe" in roles:
        tables += [dots.probe_spots(bodies, groups, roles, draws) for bodies in (main, second, third)]
    return Dots.concatenate(tables)


def _adherent_number(labels: Tensor, groups: Groups, draws: Draws) -> Tensor:
    """Platelets (N,) on the event's first body.

    A cluster carries `dots.ADHERENT_LEAST` or more; one CTC in three carries one or two, which make no cluster; one in
    seven CTCs with a neutrophil, and one in five leukocytes and debris, carry any number.
    """
    shape = (len(labels),)
    many = (dots.ADHERENT_LEAST + draws.poisson(groups.activation)).clamp_max(dots.ADHERENT_MOST)
    few = draws.integers(shape, 1, dots.ADHERENT_LEAST - 1)
    chance = draws.uniform(shape)
    bystander = torch.where(labels == IS_NEUTROPHIL_CLUSTER, 0.15, 0.2)
    others = torch.where(chance < bystander, many, torch.where(chance < 0.4, few, 0))
    few_or_none = torch.where(chance < 0.35, few, 0)
    return torch.where(labels == IS_PLATELET_CLUSTER, many, torch.where(labels == IS_CTC, few_or_none, others))


def _defocus(smear: Tensor, groups: Groups, draws: Draws) -> Tensor:
    count = len(smear)
    usual = (draws.normal((count,)) * groups.defocus_sd_um).clamp(-SHARP_DEFOCUS_UM, SHARP_DEFOCUS_UM)
    return torch.where(smear, draws.uniform((count,), *SMEAR_DEFOCUS_UM), usual)
