"""Events of a simulated cartridge before they have a place: cells, clusters and debris around their own centres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ctcnet.simulate import cells, dots
from ctcnet.simulate.cells import CTC, GRANULOCYTE, LYMPHOCYTE
from ctcnet.simulate.composition import (
    CLASSES,
    DEBRIS_FORMS,
    DEBRIS_SHARES,
    IS_CTC,
    IS_DEBRIS,
    IS_LEUKOCYTE,
    IS_NEUTROPHIL_CLUSTER,
    IS_PLATELET_CLUSTER,
)
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import Bodies, Dots

DOUBLET_SHARE = 0.1
"""Share of CTC events that are two CTCs in contact."""
SECOND_NEUTROPHIL_SHARE = 0.25
CONTACT_OVERLAP_UM = (0.2, 2.5)
"""By how much the circles of cells in contact overlap, as in `composition`."""
FEW_PLATELETS_SHARE = 0.35
"""Share of single CTCs that carry one or two platelets, which make no cluster."""
LEUKOCYTE_PLATELET_SHARE = 0.05
"""Share of leukocytes that carry as many platelets as a cluster does."""
OUT_OF_FOCUS_SHARE = 0.15
IN_FOCUS, NEAR_FOCUS, SMEARED = 0, 1, 2
"""Focus layers, rows of `field_renderer.LAYER_DEFOCUS_UM`."""
CHUNK = 8192
_FORM_KINDS = (cells.FRAGMENT, cells.BARE_NUCLEUS, cells.APOPTOTIC, cells.AGGREGATE, LYMPHOCYTE, -1, cells.FIBRE)
_SMEAR, _CLUMP = DEBRIS_FORMS.index("smear"), DEBRIS_FORMS.index("platelet_clump")


@dataclass(frozen=True)
class EventNumbers:
    """How many events of each class there are, in the whole cartridge."""

    ctc: int
    leukocytes: int
    clusters_neutrophil: int
    clusters_platelet: int
    debris: int

    def labels(self) -> Tensor:
        """Class (E,) int64 of each event, rows of `CLASSES`; leukocytes last."""
        order = (IS_CTC, IS_NEUTROPHIL_CLUSTER, IS_PLATELET_CLUSTER, IS_DEBRIS, IS_LEUKOCYTE)
        numbers = (self.ctc, self.clusters_neutrophil, self.clusters_platelet, self.debris, self.leukocytes)
        return torch.tensor(order).repeat_interleave(torch.tensor(numbers))


@dataclass(frozen=True)
class FieldEvents:
    """E events, each around its own origin; `crop` of bodies and dots is the row of their event.

    Attributes:
        label: (E,) int64, rows of `CLASSES`.
        kind: (E,) str, what the event is: a name of `cells.KINDS` or `composition.DEBRIS_FORMS`, or its class.
        bodies: all bodies; the first body of each event first, in the order of events, then partners.
        layer: focus layer (E,) int64.
        dots: platelets that belong to events.
        reach_um: (E,) float64, radius of the circle around the origin that holds the event.
    """

    label: Tensor
    kind: np.ndarray
    bodies: Bodies
    layer: Tensor
    dots: Dots
    reach_um: np.ndarray


def draw_events(numbers: EventNumbers, group: Groups, roles: tuple[str, ...], draws: Draws) -> FieldEvents:
    """Draw the events of one patient (`group`, one row) for the channels of `roles`."""
    label = numbers.labels()
    form = _debris_form(len(label), roles, draws)
    is_debris = label == IS_DEBRIS
    kind = torch.where(label == IS_LEUKOCYTE, draws.choose(group.leukocyte_shares.expand(len(label), 3)), CTC)
    smeared = torch.where(draws.chance((len(label),), 0.5), LYMPHOCYTE, CTC)
    debris_kind = torch.where(form == _SMEAR, smeared, torch.tensor(_FORM_KINDS)[form])
    kind = torch.where(is_debris, debris_kind, kind)
    clump = is_debris & (form == _CLUMP)
    main = _make_bodies(kind.clamp_min(0), torch.arange(len(label)), group, roles, draws)
    main = replace(main, present=~clump)
    partners = _partners(label, main, group, roles, draws)
    bodies = _centred(Bodies.concatenate([main, *partners]), len(label))
    platelets = _platelets(label, kind, clump, bodies.rows(torch.arange(len(label))), group, roles, draws)
    layer = torch.where(draws.chance((len(label),), OUT_OF_FOCUS_SHARE), NEAR_FOCUS, IN_FOCUS)
    layer = torch.where(is_debris & (form == _SMEAR), SMEARED, layer)
    return FieldEvents(
        label=label,
        kind=_names(label, kind, form, is_debris),
        bodies=bodies.rows(bodies.present),
        layer=layer,
        dots=platelets,
        reach_um=_reach_um(bodies, platelets, len(label)),
    )


def _debris_form(count: int, roles: tuple[str, ...], draws: Draws) -> Tensor:
    """Rows of `DEBRIS_FORMS`; no platelet clumps where no channel shows platelets."""
    shares = torch.tensor(DEBRIS_SHARES)
    if "platelet" not in roles:
        shares[_CLUMP] = 0.0
    return draws.choose((shares / shares.sum()).expand(count, len(shares)))


def _make_bodies(kind: Tensor, event: Tensor, group: Groups, roles: tuple[str, ...], draws: Draws) -> Bodies:
    """Bodies of `kind` (M,), made in pieces so that the patient's parameters are repeated for few rows at a time."""
    pieces = [
        cells.make_bodies(part, rows, group.rows(torch.zeros_like(part)), roles, draws)
        for part, rows in zip(kind.split(CHUNK), event.split(CHUNK), strict=True)
    ]
    return Bodies.concatenate(pieces)


def _partners(label: Tensor, main: Bodies, group: Groups, roles: tuple[str, ...], draws: Draws) -> list[Bodies]:
    """Cells in contact with the first cell of CTC doublets and neutrophil clusters."""
    ctc = torch.nonzero(label == IS_CTC)[:, 0]
    doublet = ctc[: round(DOUBLET_SHARE * len(ctc))]
    neutrophil = torch.nonzero(label == IS_NEUTROPHIL_CLUSTER)[:, 0]
    third = neutrophil[: round(SECOND_NEUTROPHIL_SHARE * len(neutrophil))]
    first = torch.cat((doublet, neutrophil))
    kind = torch.where(label[first] == IS_CTC, CTC, GRANULOCYTE)
    angle = draws.angle((len(label),))
    partners = []
    for rows, kinds, direction in (
        (first, kind, angle),
        (third, torch.full_like(third, GRANULOCYTE), angle + draws.uniform((len(label),), 1.8, 4.4)),
    ):
        if len(rows):
            bodies = _make_bodies(kinds, rows, group, roles, draws)
            overlap_um = draws.uniform((len(rows),), *CONTACT_OVERLAP_UM)
            distance_um = main.radius[rows] + bodies.radius - overlap_um
            partners.append(replace(bodies, centre=cells.touching(direction[rows], distance_um)))
    return partners


def _centred(bodies: Bodies, events: int) -> Bodies:
    """Shift each event so that the centre of its area lies at its origin."""
    area = cells.area_um2(bodies)[:, None]
    total = torch.zeros((events, 1)).index_add_(0, bodies.crop, area)
    mean = torch.zeros((events, 2)).index_add_(0, bodies.crop, area * bodies.centre) / total
    return replace(bodies, centre=bodies.centre - mean[bodies.crop])


def _platelets(
    label: Tensor, kind: Tensor, clump: Tensor, main: Bodies, group: Groups, roles: tuple[str, ...], draws: Draws
) -> Dots:
    """Platelets on cells, and clumps of platelets."""
    count = len(label)
    activation = group.activation.expand(count)
    many = (dots.ADHERENT_LEAST + draws.poisson(activation)).clamp_max(dots.ADHERENT_MOST)
    few = draws.integers((count,), 1, dots.ADHERENT_LEAST - 1)
    number = torch.where(label == IS_PLATELET_CLUSTER, many, 0)
    number = torch.where((label == IS_CTC) & draws.chance((count,), FEW_PLATELETS_SHARE), few, number)
    carriers = (label == IS_LEUKOCYTE) & draws.chance((count,), LEUKOCYTE_PLATELET_SHARE)
    number = torch.where(carriers & ("platelet" in roles), many, number)
    rows = torch.nonzero(number > 0)[:, 0]
    adherent = dots.adherent_platelets(main.rows(rows), number[rows], group.rows(torch.zeros_like(rows)), roles, draws)
    rows = torch.nonzero(clump)[:, 0]
    clumps = dots.platelet_clump(rows, clump[rows], group.rows(torch.zeros_like(rows)), roles, draws)
    return Dots.concatenate([adherent, clumps])


def _names(label: Tensor, kind: Tensor, form: Tensor, is_debris: Tensor) -> np.ndarray:
    names = np.array(cells.KINDS, dtype=object)[kind.clamp_min(0).numpy()]
    debris = is_debris.numpy()
    names[debris] = np.array(DEBRIS_FORMS, dtype=object)[form.numpy()[debris]]
    cluster = ((label == IS_NEUTROPHIL_CLUSTER) | (label == IS_PLATELET_CLUSTER)).numpy()
    names[cluster] = np.array(CLASSES, dtype=object)[label.numpy()[cluster]]
    return names


def _reach_um(bodies: Bodies, platelets: Dots, events: int) -> np.ndarray:
    own = bodies.radius * bodies.aspect.sqrt() * (1 + bodies.ruffle.sum(1))
    of_body = (bodies.centre.norm(dim=1) + own) * bodies.present
    of_dot = platelets.centre.norm(dim=1) + platelets.sigma
    reach = torch.zeros(events)
    for event, value in ((bodies.crop, of_body), (platelets.crop, of_dot)):
        reach = reach.scatter_reduce(0, event, value, "amax")
    return reach.double().numpy()
