"""Cells and debris more diverse than `cells` makes them, as the real ones are; classes and contacts stay defined."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ctcnet.simulate import cells
from ctcnet.simulate.cells import (
    AGGREGATE,
    APOPTOTIC,
    BARE_NUCLEUS,
    CTC,
    FIBRE,
    FRAGMENT,
    GRANULOCYTE,
    MONOCYTE,
    UNIT_ELECTRONS,
)
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effect_levels import EffectLevels
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import Bodies

LEUKOCYTE_NUCLEUS_SHARE = (0.5, 0.98)
"""Nucleus to cell area (slide, at 40 % of the peak, where a round nucleus shows 0.84 of its area: 0.64, 0.46-0.86)."""
LEUKOCYTE_EXCLUSION = (0.0, 0.8)
"""Share of the cytoplasm that the nucleus displaces (with `RING_SHARE`, for the ring's centre to peak)."""
UNRESOLVED_SHARE = 0.7
"""Share of granulocytes whose lobes lie so close that they look like one (slide: 12 to 19 % show two maxima)."""
RING_SHARE = (0.45, 1.0)
"""Share of the membrane in the stains that a leukocyte carries on it (slide: centre to peak 0.39 to 0.96)."""
RING_SHELL = (0.6, 0.92)
AUTOFLUORESCENCE = (0.5, 4.0)
"""Of an eosinophil-like cell, in units of each channel's stain (general knowledge)."""
NUCLEAR_AUTOFLUORESCENCE = 0.1
"""In the channel of the nucleus, whose unit is far brighter than the others'."""
WEAK_CD45 = (0.03, 0.4)
"""CD45 of a faint leukocyte over another's (position 2 of the slide: four of 106 cells at 0.04 to 0.23)."""
FAINT_CD45 = 0.3
"""CD45 in units of the leukocytes' level below which a cell is one of `cells.WEAK_SHARE`, which have a sixth of it."""
WEAK_CK_MOST = 2.0
"""Most CK of a faint cell in units of the leukocytes' level (the four: as that of the others, whose log-SD is 0.43)."""
COMMON_LOG_SD = 0.15
"""Spread that all stains of a leukocyte's cytoplasm and membrane share: thick cells are brighter in each."""
LEVEL_POWER, LEVEL_FROM = 0.7, (0.3, 4.0)
"""Power that brings CK and CD45 of `cells`, within these bounds in units of their levels, nearer to each other (slide:
CV of CD45 0.36, CD45 of FITC+ cells 1.5 times that of the others, log-SD of CK 0.43, 4 % at twice its median)."""
CK_BY_CD45 = 0.7
"""Power of a leukocyte's CD45 that its CK goes with (slide: r = 0.5, and CK of FITC+ cells 1.2 times that of others,
which has to make up for `cells.LEVELS`)."""
BARE_STAIN = (0.0, 0.4)
"""What a bare nucleus holds of the stains of `cells`, half of a leukocyte's CK among them: there is no cytoplasm."""
DOUBLE_POSITIVE = (3.0, 20.0)
"""CK of a CK+ CD45+ cell over a leukocyte's."""

CTC_NUCLEUS_SHARE = (0.36, 0.9)
"""Nucleus to cell area (CTC crops: medians 0.53 to 0.76; as asked 0.36 to 0.9)."""
CRESCENT_SHARE = 0.3
"""Share of CTCs whose nucleus lies at the rim, with the cytoplasm opposite (offset: 0.10-0.17 of the radius, 0.43)."""
CTC_SLOPE = (0.0, 0.9)
"""Slope of the cytoplasm's stain over a radius (CK brightest to dimmest octant: 1.6 to 6)."""
CTC_EXCLUSION = (0.0, 0.95)
"""Share of the cytoplasm that the nucleus displaces (CK over nucleus to over cytoplasm: 0.36 to 1.0)."""
CTC_GRAIN = (0.08, 0.8)
CTC_DNA = (0.5, 2.0)
"""Nuclear stain over that of `cells`, which lies near the leukocytes'."""
CTC_CD45_SHARE, CTC_CD45 = 0.25, (1.0, 3.0)
"""CTCs with CD45 of up to 0.3 of the leukocytes' (CD45/CK of CTC crops: up to 0.31) and the factor on their 0.1."""
LARGEST_LEUKOCYTE_UM = 10.2
"""Diameter that 99 % of the slide's leukocytes are below."""
LEAST_STAIN = (2.0, 4.0)
"""Least CK of a CTC no larger than that, over a leukocyte's, where no mesenchymal stain does as much: with neither size
nor stain it is no CTC by the written definition, and on the slide a leukocyte faint in CD45 looks like it (position 2:
every cell that was taken for a CTC). Panels without CK stay as they are: vimentin is in leukocytes too."""

VESICLE_SHARE, VESICLE_RADIUS_UM = 0.45, (4.0, 7.0)
"""Share of fragments that are round, CK-bright and as large as cells (two in frame 4 of the slide: 10 to 12 um)."""
AUTOFLUORESCENT_SHARE, DYE_SHARE, BUBBLE_SHARE = 0.35, 0.25, 0.2
"""Shares of aggregates that shine in all channels, that are one dye, and that are bubbles."""
LONG_FIBRE_SHARE = 0.6
FIBRE_LENGTH_UM, FIBRE_WIDTH_UM = (20.0, 44.0), (1.0, 3.0)
"""Lengths end where the largest patch does that bodies are drawn on."""


def diversify_leukocytes(bodies: Bodies, groups: Groups, levels: EffectLevels, roles: tuple[str, ...], draws: Draws):
    """Vary size, nucleus, ring and stain of the leukocytes among the bodies (M rows, as groups and levels)."""
    count = len(bodies.kind)
    chosen = bodies.kind <= MONOCYTE
    double = chosen & draws.chance((count,), levels.double_positive_share)
    larger = torch.where(double, levels.double_positive_size ** draws.uniform((count,)), 1.0)
    bodies = _resized(bodies, torch.where(chosen, levels.leukocyte_size * larger, 1.0))
    merged = chosen & (bodies.kind == GRANULOCYTE) & draws.chance((count,), UNRESOLVED_SHARE)
    bodies = replace(bodies, lobes=_merged(bodies.lobes, merged, draws))
    nucleus = draws.uniform((count,), *LEUKOCYTE_NUCLEUS_SHARE).sqrt() * bodies.radius
    bodies = _with_nucleus(bodies, torch.where(chosen, nucleus, nucleus_extent(bodies)))
    share = torch.where(chosen, draws.uniform((count,), *RING_SHARE), 0.0)[:, None]
    both = bodies.amplitude[:, :, 1:].sum(2)
    on_membrane = torch.tensor([cells.ROLE_COMPARTMENTS.get(role, (0, 0, 0))[2] > 0.4 for role in roles])
    ring = (chosen[:, None] & on_membrane.to(draws.device))[:, :, None]
    parts = torch.where(ring, torch.stack((both * (1 - share), both * share), 2), bodies.amplitude[:, :, 1:])
    stained = torch.tensor([role not in ("transmitted", "scatter") for role in roles], device=draws.device)
    common = torch.where(chosen[:, None] & stained, draws.spread((count, 1), COMMON_LOG_SD), 1.0)[:, :, None]
    amplitude = torch.cat((bodies.amplitude[:, :, :1], parts * common), 2)
    amplitude = _with_leukocyte_levels(amplitude, chosen, double, levels, groups, roles, draws)
    shining = chosen & draws.chance((count,), levels.autofluorescent_share)
    amplitude[:, :, 1] += autofluorescence(shining, groups, roles, draws)
    shell = torch.where(chosen, draws.uniform((count,), *RING_SHELL), bodies.shell)
    exclusion = torch.where(chosen, draws.uniform((count,), *LEUKOCYTE_EXCLUSION), bodies.exclusion)
    return replace(bodies, amplitude=amplitude, shell=shell, exclusion=exclusion)


def _with_leukocyte_levels(
    amplitude: Tensor,
    chosen: Tensor,
    double: Tensor,
    levels: EffectLevels,
    groups: Groups,
    roles: tuple[str, ...],
    draws: Draws,
) -> Tensor:
    """Amplitudes (M, C, 3) with CK and CD45 of the leukocytes (`chosen`, (M,)) as they go together: nearer to their
    levels and to each other, some CK+ (`double`, (M,)) and others faint in CD45, which are not CK+.
    """
    count = len(chosen)
    weak = chosen & ~double & draws.chance((count,), levels.weak_cd45_share)
    brighter, fainter = draws.log_uniform((count,), *DOUBLE_POSITIVE), draws.log_uniform((count,), *WEAK_CD45)
    brighter = DOUBLE_POSITIVE[0] * (brighter / DOUBLE_POSITIVE[0]) ** levels.double_positive_power
    ck, cd45 = (_level(amplitude, role, groups, roles) for role in ("epithelial", "leukocyte"))
    faint = weak | (chosen & ~double & (cd45 < FAINT_CD45))
    nearer_ck, nearer_cd45 = (level.clamp(*LEVEL_FROM) ** (LEVEL_POWER - 1) for level in (ck, cd45))
    ck_factor = nearer_ck * (cd45 * nearer_cd45).clamp(*LEVEL_FROM) ** CK_BY_CD45
    ck_factor = torch.where(faint, torch.minimum(ck_factor, WEAK_CK_MOST / ck.clamp_min(1e-3)), ck_factor)
    factors = {
        "epithelial": ck_factor * torch.where(double, brighter, 1.0),
        "leukocyte": nearer_cd45 * torch.where(weak, fainter, 1.0),
    }
    for role, factor in factors.items():
        own = _of_role(roles, role, draws) & chosen[:, None, None]
        amplitude = torch.where(own, amplitude * factor[:, None, None], amplitude)
    return amplitude


def _level(amplitude: Tensor, role: str, groups: Groups, roles: tuple[str, ...]) -> Tensor:
    """Stain (M,) of cytoplasm and membrane in the role's first channel in units of its level; 1 where there is none."""
    if role not in roles:
        return torch.ones_like(amplitude[:, 0, 0])
    channel = roles.index(role)
    return amplitude[:, channel, 1:].sum(1) / (UNIT_ELECTRONS[role] * groups.stain[:, channel])


def diversify_tumour_cells(bodies: Bodies, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Bodies:
    """Vary cytoplasm and nucleus of the CTCs among the bodies, and the speckle of dying nuclei."""
    count = len(bodies.kind)
    chosen, dying = bodies.kind == CTC, bodies.kind == APOPTOTIC
    nucleus = draws.uniform((count,), *CTC_NUCLEUS_SHARE).sqrt() * bodies.radius
    bodies = _with_nucleus(bodies, torch.where(chosen, nucleus, nucleus_extent(bodies)))
    crescent = chosen & draws.chance((count,), CRESCENT_SHARE)
    direction = draws.angle((count,))
    away = torch.stack((direction.cos(), direction.sin()), 1)
    room = (bodies.radius - nucleus).clamp_min(0)[:, None]
    lobes = bodies.lobes.clone()
    lobes[:, 0, :2] = torch.where(crescent[:, None], -away * room, lobes[:, 0, :2])
    slope = draws.uniform((count, 1), *CTC_SLOPE)
    free = draws.angle((count,))
    gradient = torch.where(crescent[:, None], away, torch.stack((free.cos(), free.sin()), 1)) * slope
    dna = torch.where(chosen, draws.log_uniform((count,), *CTC_DNA), 1.0)[:, None, None]
    cd45 = torch.where(chosen & draws.chance((count,), CTC_CD45_SHARE), draws.uniform((count,), *CTC_CD45), 1.0)[
        :, None, None
    ]
    amplitude = torch.where(_of_role(roles, "nucleus", draws), bodies.amplitude * dna, bodies.amplitude)
    amplitude = torch.where(_of_role(roles, "leukocyte", draws), amplitude * cd45, amplitude)
    small = chosen & (2 * bodies.radius <= LARGEST_LEUKOCYTE_UM)
    amplitude = _with_visible_stain(amplitude, small, groups, roles, draws)
    chromatin = torch.where(chosen, draws.uniform((count,), 0.1, 0.4), bodies.chromatin)
    return replace(
        bodies,
        lobes=lobes,
        gradient=torch.where(chosen[:, None], gradient, bodies.gradient),
        exclusion=torch.where(chosen, draws.uniform((count,), *CTC_EXCLUSION), bodies.exclusion),
        grain=torch.where(chosen, draws.log_uniform((count,), *CTC_GRAIN), bodies.grain),
        chromatin=torch.where(dying, draws.uniform((count,), 0.4, 1.0), chromatin),
        amplitude=amplitude,
    )


def _with_visible_stain(
    amplitude: Tensor, chosen: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws
) -> Tensor:
    """Amplitudes (M, C, 3) with CK of at least `LEAST_STAIN` in the chosen bodies (M,), unless a mesenchymal stain is
    as strong; measured in the first channel of CK, and raised in all.
    """
    least = draws.log_uniform((len(chosen),), *LEAST_STAIN)
    ck, mesenchymal = (_level(amplitude, role, groups, roles) for role in ("epithelial", "mesenchymal"))
    factor = torch.where(chosen & (mesenchymal < least), (least / ck.clamp_min(1e-3)).clamp_min(1.0), 1.0)
    return torch.where(_of_role(roles, "epithelial", draws), amplitude * factor[:, None, None], amplitude)


def diversify_debris(bodies: Bodies, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Bodies:
    """Make vesicles of fragments; bubbles, dye and autofluorescent bodies of aggregates; long fibres; barer nuclei."""
    count = len(bodies.kind)
    chance = draws.uniform((count,))
    vesicle = (bodies.kind == FRAGMENT) & (chance < VESICLE_SHARE)
    aggregate = bodies.kind == AGGREGATE
    shining = aggregate & (chance < AUTOFLUORESCENT_SHARE)
    dye = aggregate & ~shining & (chance < AUTOFLUORESCENT_SHARE + DYE_SHARE)
    bubble = aggregate & (chance > 1 - BUBBLE_SHARE)
    fibre = (bodies.kind == FIBRE) & (chance < LONG_FIBRE_SHARE)
    length, width = draws.uniform((count,), *FIBRE_LENGTH_UM), draws.uniform((count,), *FIBRE_WIDTH_UM)
    radius = torch.where(vesicle | bubble, draws.uniform((count,), *VESICLE_RADIUS_UM), bodies.radius)
    radius = torch.where(fibre, (length * width).sqrt() / 2, radius)
    round_ = (vesicle | bubble)[:, None]
    bare = torch.where(bodies.kind == BARE_NUCLEUS, draws.uniform((count,), *BARE_STAIN), 1.0)[:, None, None]
    amplitude = torch.where(_of_role(roles, "nucleus", draws), bodies.amplitude, bodies.amplitude * bare)
    amplitude = torch.where((shining | dye | bubble)[:, None, None], 0.0, amplitude)
    amplitude[:, :, 1] += autofluorescence(shining | fibre, groups, roles, draws) * 4
    amplitude[:, :, 1] += _one_dye(dye, groups, roles, draws)
    amplitude[:, :, 1:] += _bubble(bubble, groups, draws)
    smooth = draws.uniform((count,), 0.05, 0.35)
    return replace(
        bodies,
        radius=radius,
        aspect=torch.where(fibre, length / width, torch.where(vesicle | bubble, 1.05, bodies.aspect)),
        ruffle=torch.where(round_, bodies.ruffle * 0.3, bodies.ruffle * ~fibre[:, None]),
        grain=torch.where(vesicle | bubble, smooth, bodies.grain),
        shell=torch.where(bubble, 0.85, bodies.shell),
        amplitude=amplitude,
    )


def nucleus_extent(bodies: Bodies) -> Tensor:
    """Radius (M,) of the circle that the nucleus was made for: that of a single one, or of all lobes together."""
    single = bodies.lobes[:, 1, 2] <= 0
    return torch.where(single, bodies.lobes[:, 0, 2], bodies.nucleus_radius / 0.6)


def _resized(bodies: Bodies, factor: Tensor) -> Bodies:
    column = factor[:, None]
    return replace(
        bodies,
        radius=bodies.radius * factor,
        nucleus_radius=bodies.nucleus_radius * factor,
        lobes=bodies.lobes * column[:, :, None],
        indent=bodies.indent * column,
    )


def _with_nucleus(bodies: Bodies, radius: Tensor) -> Bodies:
    """Bodies whose nuclei have the radius (M,); bodies without a nucleus stay so, and no nucleus leaves its cell."""
    now = nucleus_extent(bodies)
    factor = torch.where(now > 0, radius / now.clamp_min(0.1), 1.0)
    changed = _resized(bodies, factor)
    lobes = changed.lobes.clone()
    single = lobes[:, 1, 2] <= 0
    place = lobes[:, 0, :2]
    room = (bodies.radius - lobes[:, 0, 2]).clamp_min(0)
    inside = place * (room / place.norm(dim=1).clamp_min(1e-3)).clamp_max(1)[:, None]
    lobes[:, 0, :2] = torch.where(single[:, None], inside, place)
    return replace(changed, radius=bodies.radius, lobes=lobes)


def _merged(lobes: Tensor, chosen: Tensor, draws: Draws) -> Tensor:
    """Lobes drawn together to their middle, and grown, where `chosen`."""
    present = (lobes[:, :, 2:] > 0).float()
    middle = (lobes[:, :, :2] * present).sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp_min(1)
    closer = draws.uniform((len(lobes), 1, 1), 0.3, 0.75)
    place = middle + (lobes[:, :, :2] - middle) * closer
    merged = torch.cat((place, lobes[:, :, 2:] * 1.25), 2) * present
    return torch.where(chosen[:, None, None], merged, lobes)


def _of_role(roles: tuple[str, ...], role: str, draws: Draws) -> Tensor:
    return torch.tensor([r == role for r in roles], device=draws.device)[None, :, None]


def unit_electrons(groups: Groups, roles: tuple[str, ...], device: torch.device) -> Tensor:
    """Electrons (M, C) of a stain of 1 in fluorescence channels, a tenth of it in the nucleus's, 0 in the others."""
    unit = [0.0 if role == "transmitted" else UNIT_ELECTRONS[role] for role in roles]
    weight = [NUCLEAR_AUTOFLUORESCENCE if role == "nucleus" else 1.0 for role in roles]
    return torch.tensor(unit, device=device) * torch.tensor(weight, device=device) * groups.stain


def autofluorescence(chosen: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Tensor:
    """Electrons (M, C) of light in all channels, of `chosen` bodies."""
    strength = draws.log_uniform((len(chosen), 1), *AUTOFLUORESCENCE) * draws.spread((len(chosen), len(roles)), 0.4)
    return strength * unit_electrons(groups, roles, draws.device) * chosen[:, None]


def _one_dye(chosen: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Tensor:
    channel = draws.integers((len(chosen),), 0, len(roles) - 1)
    one_hot = torch.nn.functional.one_hot(channel, len(roles))
    strength = draws.log_uniform((len(chosen), 1), 3.0, 30.0)
    return one_hot * strength * unit_electrons(groups, roles, draws.device) * chosen[:, None]


def _bubble(chosen: Tensor, groups: Groups, draws: Draws) -> Tensor:
    """Cytoplasm and membrane (M, C, 2): a disc darker than the background with a bright rim."""
    dark = -draws.uniform((len(chosen), 1), 0.3, 0.9)
    rim = draws.uniform((len(chosen), 1), 0.3, 4.0)
    both = torch.stack((groups.background_e * dark, groups.background_e * rim), 2)
    return both * chosen[:, None, None]
