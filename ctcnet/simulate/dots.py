"""Platelets, specks of stain and probe spots."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.simulate.cells import CTC, HAS_NUCLEUS, UNIT_ELECTRONS
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import Bodies, Dots

PLATELET_SIGMA_UM = (0.45, 0.85)
"""Gaussian SD of platelets of 1 to 3 um diameter (FWHM 1.1 to 2.0 um)."""
SPECK_SIGMA_UM = 0.25
LARGEST_SIGMA_UM = PLATELET_SIGMA_UM[1]
PLATELET_STAIN: dict[str, float] = {
    "platelet": 1.0,
    "mesenchymal": 0.1,
    "stem": 0.1,
    "scatter": 0.15,
    "transmitted": 0.3,
}
"""Stain of a platelet by role, in units of `UNIT_ELECTRONS`; 0.02 for the other roles."""
SPECK_STAIN: dict[str, float] = {"epithelial": 3.0, "leukocyte": 0.3, "neutrophil": 0.3, "platelet": 0.3}
ADHERENT_LEAST = 3
"""Platelets that a CTC carries at least to be a CTC-platelet cluster."""
ADHERENT_MOST = 16
FREE_MOST = 12
SPECKS_MOST = 16
PROBE_MOST = 5


@dataclass(frozen=True)
class Stain:
    """Electrons by channel of a stain of 1, times the role's share (C,)."""

    roles: tuple[str, ...]
    shares: dict[str, float]
    other: float

    def electrons(self, device: torch.device) -> Tensor:
        """Peak electrons per px (C,)."""
        values = [UNIT_ELECTRONS[role] * self.shares.get(role, self.other) for role in self.roles]
        return torch.tensor(values, device=device)


def _table(crop: Tensor, centre: Tensor, sigma: Tensor, amplitude: Tensor, present: Tensor) -> Dots:
    """Flatten (N, K) slots into rows, keeping those present."""
    keep = torch.nonzero(present.reshape(-1))[:, 0]
    slots = present.shape[1]
    return Dots(
        crop=crop.repeat_interleave(slots)[keep],
        centre=centre.reshape(-1, 2)[keep],
        sigma=sigma.reshape(-1)[keep],
        amplitude=amplitude.reshape(len(crop) * slots, amplitude.shape[-1])[keep],
    )


def platelets(
    crop: Tensor, centre: Tensor, present: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws
) -> Dots:
    """Platelets at the slots `centre` (N, K, 2) that are `present` (N, K)."""
    shape = (len(crop), present.shape[1])
    electrons = Stain(roles, PLATELET_STAIN, 0.02).electrons(draws.device) * groups.stain
    brightness = draws.spread(shape, 0.55)
    sigma = draws.uniform(shape, *PLATELET_SIGMA_UM)
    return _table(crop, centre, sigma, brightness[:, :, None] * electrons[:, None], present)


def adherent_platelets(bodies: Bodies, number: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Dots:
    """`number` (N,) platelets on the membrane of each body (N rows), on an arc of 60 degrees to the whole rim.

    Their centres lie within 1 um of the outline's circle: that is what makes them adherent.
    """
    count = len(bodies.crop)
    arc = draws.uniform((count, 1), math.pi / 3, 2 * math.pi)
    angle = draws.angle((count, 1)) + draws.uniform((count, ADHERENT_MOST)) * arc
    distance = bodies.radius[:, None] + draws.uniform((count, ADHERENT_MOST), -1.0, 1.0)
    centre = bodies.centre[:, None] + torch.stack((angle.cos(), angle.sin()), 2) * distance[:, :, None]
    present = torch.arange(ADHERENT_MOST, device=draws.device) < number[:, None]
    return platelets(bodies.crop, centre, present & bodies.present[:, None], groups, roles, draws)


def platelet_clump(crop: Tensor, present: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Dots:
    """A clump of 5 to `ADHERENT_MOST` platelets around the crop's centre."""
    shape = (len(crop), ADHERENT_MOST)
    centre = draws.normal((*shape, 2)) * draws.uniform((len(crop), 1, 1), 1.0, 3.0)
    number = draws.integers((len(crop),), 5, ADHERENT_MOST)
    inside = torch.arange(ADHERENT_MOST, device=draws.device) < number[:, None]
    return platelets(crop, centre, inside & present[:, None], groups, roles, draws)


def free_platelets(
    crop: Tensor,
    field_um: float,
    tumour: list[Bodies],
    gap_um: float,
    groups: Groups,
    roles: tuple[str, ...],
    draws: Draws,
) -> Dots:
    """Platelets anywhere in the field, none of them within `gap_um` of a CTC's outline."""
    shape = (len(crop), FREE_MOST)
    number = draws.poisson(groups.platelets_per_mm2 * field_um**2 * 1e-6)
    centre = draws.uniform((*shape, 2), -field_um / 2, field_um / 2)
    present = torch.arange(FREE_MOST, device=draws.device) < number[:, None]
    for bodies in tumour:
        distance = (centre - bodies.centre[:, None]).norm(dim=2)
        present &= (distance > bodies.radius[:, None] + gap_um) | ~bodies.present[:, None]
    return platelets(crop, centre, present, groups, roles, draws)


def specks(crop: Tensor, field_um: float, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Dots:
    """Specks of unbound stain, each in one channel, brighter and more frequent in the epithelial one."""
    shape = (len(crop), SPECKS_MOST)
    number = draws.poisson(groups.specks_per_mm2 * field_um**2 * 1e-6)
    centre = draws.uniform((*shape, 2), -field_um / 2, field_um / 2)
    present = torch.arange(SPECKS_MOST, device=draws.device) < number[:, None]
    return specks_at(crop, centre, present, groups, roles, draws)


def specks_at(
    crop: Tensor, centre: Tensor, present: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws
) -> Dots:
    """Specks at the slots `centre` (N, K, 2) that are `present` (N, K); none where no role of the panel has specks."""
    shape = (len(crop), present.shape[1])
    share = torch.tensor([SPECK_STAIN.get(role, 0.0) for role in roles], device=draws.device)
    weight = torch.tensor([{"epithelial": 6.0}.get(role, 1.0 if role in SPECK_STAIN else 0.0) for role in roles])
    if not weight.any():
        return _table(
            crop,
            centre,
            torch.full(shape, SPECK_SIGMA_UM, device=draws.device),
            centre.new_zeros((*shape, len(roles))),
            present & False,
        )
    channel = draws.choose((weight / weight.sum()).to(draws.device).repeat(shape[0] * shape[1], 1)).reshape(shape)
    unit = torch.tensor([abs(UNIT_ELECTRONS[role]) for role in roles], device=draws.device)
    one_hot = torch.nn.functional.one_hot(channel, len(roles))
    amplitude = one_hot * (share * unit * groups.stain)[:, None] * draws.spread((*shape, 1), 0.6) * 3.0
    return _table(crop, centre, torch.full(shape, SPECK_SIGMA_UM, device=draws.device), amplitude, present)


def probe_spots(bodies: Bodies, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Dots:
    """Spots of a chromosome probe: two in a blood cell's nucleus, two to five in a CTC's."""
    shape = (len(bodies.crop), PROBE_MOST)
    number = torch.where(bodies.kind == CTC, draws.integers((shape[0],), 2, PROBE_MOST), 2)
    number = number * torch.tensor(HAS_NUCLEUS, device=draws.device)[bodies.kind]
    angle, reach = draws.angle(shape), draws.uniform(shape).sqrt() * 0.7 * bodies.nucleus_radius[:, None]
    nucleus = bodies.centre + bodies.lobes[:, 0, :2]
    centre = nucleus[:, None] + torch.stack((angle.cos(), angle.sin()), 2) * reach[:, :, None]
    share = torch.tensor([1.0 if role == "probe" else 0.0 for role in roles], device=draws.device)
    amplitude = (1500.0 * share * groups.stain)[:, None] * draws.spread((*shape, 1), 0.3)
    present = (torch.arange(PROBE_MOST, device=draws.device) < number[:, None]) & bodies.present[:, None]
    return _table(bodies.crop, centre, torch.full(shape, SPECK_SIGMA_UM, device=draws.device), amplitude, present)
