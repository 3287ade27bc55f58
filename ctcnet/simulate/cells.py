"""Cell kinds: size, nucleus and how strongly each role stains each compartment."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ctcnet.panel import ROLES
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import MAX_LOBES, Bodies

KINDS: tuple[str, ...] = (
    "lymphocyte",
    "granulocyte",
    "monocyte",
    "ctc",
    "fragment",
    "bare_nucleus",
    "apoptotic",
    "aggregate",
    "fibre",
)
LYMPHOCYTE, GRANULOCYTE, MONOCYTE, CTC, FRAGMENT, BARE_NUCLEUS, APOPTOTIC, AGGREGATE, FIBRE = range(len(KINDS))

DIAMETER_UM: tuple[float, ...] = (7.6, 9.2, 10.4, 10.0, 5.5, 6.8, 9.0, 5.0, 6.0)
"""Median diameter of the circle of equal area; CTCs take their patient's."""
DIAMETER_LOG_SD: tuple[float, ...] = (0.07, 0.07, 0.08, 0.15, 0.35, 0.15, 0.18, 0.35, 0.25)
NUCLEUS_AREA_SHARE: tuple[tuple[float, float], ...] = (
    (0.62, 0.85),
    (0.45, 0.65),
    (0.48, 0.70),
    (0.40, 0.76),
    (0.05, 0.15),
    (0.85, 0.98),
    (0.20, 0.45),
    (0.05, 0.10),
    (0.01, 0.02),
)
"""Range of the nucleus to cell area ratio (measured on leukocytes: median 0.64, 0.46-0.86; on CTCs 0.53-0.76)."""
HAS_NUCLEUS: tuple[float, ...] = (1, 1, 1, 1, 0, 1, 1, 0, 0)

UNIT_ELECTRONS: dict[str, float] = {
    "nucleus": 2500.0,
    "epithelial": 50.0,
    "mesenchymal": 450.0,
    "leukocyte": 210.0,
    "neutrophil": 120.0,
    "monocyte": 350.0,
    "t_cell": 300.0,
    "platelet": 130.0,
    "target": 120.0,
    "stem": 300.0,
    "probe": 60.0,
    "transmitted": -1500.0,
    "scatter": 900.0,
    "none": 0.0,
}
"""Peak electrons per px of a stain of 1; the unit of the epithelial role is the level of leukocytes."""

LEVELS: dict[str, tuple[float, ...]] = {
    "nucleus": (1.0, 1.0, 1.0, 1.0, 0.0, 0.8, 1.1, 0.0, 0.0),
    "epithelial": (0.8, 1.1, 1.2, 1.0, 1.0, 0.5, 1.0, 6.0, 8.0),
    "mesenchymal": (0.8, 0.6, 0.9, 1.0, 0.4, 0.1, 0.5, 1.5, 1.0),
    "leukocyte": (1.5, 0.75, 1.1, 0.10, 0.12, 0.12, 0.15, 0.9, 0.5),
    "neutrophil": (0.12, 1.0, 0.20, 0.12, 0.06, 0.04, 0.10, 0.8, 0.4),
    "monocyte": (0.04, 0.10, 1.0, 0.05, 0.05, 0.04, 0.08, 0.6, 0.4),
    "t_cell": (0.8, 0.04, 0.10, 0.04, 0.04, 0.03, 0.05, 0.5, 0.3),
    "platelet": (0.08, 0.12, 0.15, 0.12, 0.12, 0.04, 0.10, 0.6, 0.4),
    "target": (0.25, 0.3, 0.8, 1.0, 0.8, 0.1, 0.7, 1.5, 1.0),
    "stem": (0.8, 1.0, 1.0, 1.0, 0.5, 0.1, 0.5, 0.8, 0.5),
    "probe": (0.5, 0.5, 0.5, 0.5, 0.3, 0.4, 0.5, 1.0, 0.5),
    "transmitted": (1.0, 1.1, 1.0, 1.1, 0.8, 0.7, 1.2, 2.0, 1.5),
    "scatter": (0.35, 1.0, 0.5, 0.8, 0.4, 0.3, 1.1, 1.5, 1.0),
    "none": (0.0,) * 9,
}
"""Median stain by role and kind, in units of `UNIT_ELECTRONS`."""

ROLE_COMPARTMENTS: dict[str, tuple[float, float, float]] = {
    "nucleus": (1.0, 0.02, 0.0),
    "leukocyte": (0.0, 0.35, 0.65),
    "neutrophil": (0.0, 0.45, 0.55),
    "monocyte": (0.0, 0.3, 0.7),
    "t_cell": (0.0, 0.3, 0.7),
    "stem": (0.0, 0.2, 0.8),
    "target": (0.0, 0.5, 0.5),
    "probe": (1.0, 0.0, 0.0),
    "transmitted": (0.25, -0.35, 1.0),
    "scatter": (0.3, 0.9, 0.3),
}
"""Share of nucleus, cytoplasm and membrane in a role's stain; the roles not named here stain the cytoplasm."""

STAIN_LOG_SD: dict[str, float] = {"nucleus": 0.2, "epithelial": 0.43, "leukocyte": 0.35, "neutrophil": 0.6}
"""Spread between cells (CK of leukocytes: log-SD 0.43; CD45: CV 0.36); 0.4 for the others."""

WEAK_SHARE: dict[str, float] = {"leukocyte": 0.05, "neutrophil": 0.2}
"""Share of positive cells that stain at a sixth of their level (CD45 below a sixth: 2.7 %; shed CD66b)."""

UNSPECIFIC_SHARE = 0.06
"""Share of leukocytes that bind two to eight times the epithelial stain of the others (CK+ and CD45+ at once)."""

DYING_LEUKOCYTE_SHARE = 0.4
"""Share of apoptotic bodies that are leukocytes; the others are tumour cells."""

FRAGMENT_LEAST = 4.0
"""Least epithelial stain of a fragment: a dimmer one would not have been detected as an event."""

CTC_CYTOPLASM_STAINS = ("epithelial", "mesenchymal", "target", "stem")


def make_bodies(kind: Tensor, crop: Tensor, groups: Groups, panel_roles: tuple[str, ...], draws: Draws) -> Bodies:
    """Draw one body of each `kind` (M,) at the origin, with the parameters of its patient (`groups`, M rows)."""
    count = len(kind)
    radius = _radius(kind, groups, draws)
    low, high = torch.tensor(NUCLEUS_AREA_SHARE, device=draws.device)[kind].unbind(1)
    nucleus_radius = radius * draws.uniform((count,), low, high).sqrt()
    tumour_like = (kind == CTC) | (kind == APOPTOTIC)
    odd = (kind == FRAGMENT) | (kind == AGGREGATE) | (kind == APOPTOTIC)
    offset = _nucleus_offset(kind, radius, nucleus_radius, draws)
    lobes, lobe_scale = _lobes(kind, offset, nucleus_radius, draws)
    slope = torch.where(tumour_like, draws.uniform((count,), 0.0, 0.6), 0.15)
    ruffle = draws.uniform((count, 2), 0.0, 0.04) + torch.where(odd[:, None], draws.uniform((count, 2), 0.0, 0.12), 0.0)
    return Bodies(
        crop=crop,
        present=torch.ones(count, dtype=torch.bool, device=draws.device),
        kind=kind,
        centre=torch.zeros((count, 2), device=draws.device),
        radius=radius,
        aspect=torch.where(
            kind == FIBRE, draws.uniform((count,), 4.0, 12.0), 1 + draws.normal((count,), 0.1).abs() * (1 + 2 * odd)
        ),
        angle=draws.angle((count,)),
        ruffle=ruffle + torch.where(kind == CTC, 0.03, 0.0)[:, None],
        phase=draws.angle((count, 2)),
        nucleus_radius=lobe_scale,
        lobes=lobes,
        indent=_indent(kind, nucleus_radius, draws),
        chromatin=torch.where(kind == APOPTOTIC, 0.6, torch.where(kind == CTC, 0.22, 0.14)),
        grain=torch.where(odd, 0.5, torch.where(kind == CTC, 0.25, 0.12)),
        exclusion=torch.where(tumour_like, draws.uniform((count,), 0.1, 0.75), draws.uniform((count,), 0.0, 0.4)),
        gradient=_vector(draws.angle((count,)), slope),
        shell=draws.uniform((count,), 0.74, 0.9),
        amplitude=_amplitude(kind, nucleus_radius, groups, panel_roles, draws),
    )


def _vector(angle: Tensor, length: Tensor) -> Tensor:
    return torch.stack((angle.cos() * length, angle.sin() * length), 1)


def _radius(kind: Tensor, groups: Groups, draws: Draws) -> Tensor:
    median = torch.tensor(DIAMETER_UM, device=draws.device)[kind]
    median = torch.where((kind == CTC) | (kind == APOPTOTIC), groups.ctc_diameter_um, median)
    log_sd = torch.tensor(DIAMETER_LOG_SD, device=draws.device)[kind]
    return 0.5 * median * torch.exp(log_sd * draws.normal((len(kind),)).clamp(-2.5, 2.5))


def _nucleus_offset(kind: Tensor, radius: Tensor, nucleus_radius: Tensor, draws: Draws) -> Tensor:
    """CTC nuclei lie 0.10-0.17 of the radius off centre (up to 0.43); leukocyte nuclei within the free room."""
    room = (radius - nucleus_radius).clamp_min(0)
    share = torch.where(kind == CTC, draws.uniform((len(kind),), 0.3, 1.0), draws.uniform((len(kind),), 0.0, 0.6))
    return _vector(draws.angle((len(kind),)), room * share)


def _lobes(kind: Tensor, offset: Tensor, nucleus_radius: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Lobes (M, MAX_LOBES, 3) and the thickness (as a radius) that counts as 1.

    Granulocytes: 3-5 overlapping lobes on an arc; apoptotic cells: 2-5 small beads; the others one round nucleus.
    """
    count = len(kind)
    index = torch.arange(MAX_LOBES, device=draws.device)
    granulocyte, apoptotic = kind == GRANULOCYTE, kind == APOPTOTIC
    arc = draws.angle((count, 1)) + (index - 2) * draws.uniform((count, 1), 0.9, 1.25)
    scatter = draws.angle((count, MAX_LOBES))
    angle = torch.where(granulocyte[:, None], arc, scatter)
    reach = torch.where(
        granulocyte[:, None], draws.uniform((count, MAX_LOBES), 0.42, 0.6), draws.uniform((count, MAX_LOBES), 0.2, 0.85)
    )
    size = torch.where(
        granulocyte[:, None],
        draws.uniform((count, MAX_LOBES), 0.46, 0.64),
        draws.uniform((count, MAX_LOBES), 0.28, 0.6),
    )
    number = torch.where(granulocyte, draws.integers((count,), 3, 5), draws.integers((count,), 2, 5))
    many = granulocyte | apoptotic
    scale = torch.where(many[:, None], nucleus_radius[:, None], 0.0)
    lobed = torch.stack((angle.cos() * reach * scale, angle.sin() * reach * scale, size * scale), 2)
    lobed = lobed * (index < number[:, None])[:, :, None]
    present = torch.tensor(HAS_NUCLEUS, device=draws.device)[kind]
    single = torch.zeros_like(lobed)
    single[:, 0, 2] = nucleus_radius * present
    lobes = torch.where(many[:, None, None], lobed, single)
    lobes[:, :, :2] += offset[:, None] * (lobes[:, :, 2:] > 0)
    return lobes, torch.where(many, 0.6 * nucleus_radius, nucleus_radius)


def _indent(kind: Tensor, nucleus_radius: Tensor, draws: Draws) -> Tensor:
    """Disc cut out of the nucleus's side: kidney shape of monocytes, and of one CTC in ten."""
    count = len(kind)
    has = (kind == MONOCYTE) | ((kind == CTC) & draws.chance((count,), 0.1))
    radius = nucleus_radius * draws.uniform((count,), 0.4, 0.7) * has
    place = _vector(draws.angle((count,)), nucleus_radius * draws.uniform((count,), 0.9, 1.15))
    return torch.cat((place, radius[:, None]), 1)


def role_levels(kind: Tensor, groups: Groups, draws: Draws) -> Tensor:
    """Stain (M, R) of each body by role, in units of `UNIT_ELECTRONS`, columns as `panel.ROLES`.

    CTC: epithelial stain log-normal around the patient's level, over a decade and more; as it falls (epithelial to
    mesenchymal transition) the mesenchymal stain rises. CD45 and CK of leukocytes share half of their variance.
    """
    count = len(kind)
    levels = torch.tensor([LEVELS[role] for role in ROLES], device=draws.device)[:, kind].T.clone()
    noise = draws.normal((count, len(ROLES)))
    leukocyte, epithelial = ROLES.index("leukocyte"), ROLES.index("epithelial")
    noise[:, epithelial] = 0.5 * noise[:, leukocyte] + 0.75**0.5 * noise[:, epithelial]
    log_sd = torch.tensor([STAIN_LOG_SD.get(role, 0.4) for role in ROLES], device=draws.device)
    levels = levels * torch.exp(noise * log_sd)
    for role, share in WEAK_SHARE.items():
        weak = draws.chance((count,), share) & (kind <= MONOCYTE)
        levels[:, ROLES.index(role)] *= torch.where(weak, 1 / 6, 1.0)
    unspecific = draws.chance((count,), UNSPECIFIC_SHARE) & (kind <= MONOCYTE)
    levels[:, epithelial] *= torch.where(unspecific, draws.uniform((count,), 2.0, 8.0), 1.0)
    t_negative = draws.chance((count,), 0.3) & (kind == LYMPHOCYTE)
    levels[:, ROLES.index("t_cell")] *= torch.where(t_negative, 0.05, 1.0)
    dying = draws.chance((count,), DYING_LEUKOCYTE_SHARE) & (kind == APOPTOTIC)
    levels[:, leukocyte] *= torch.where(dying, 6.0, 1.0)
    tumour = (kind == CTC) | (kind == FRAGMENT) | ((kind == APOPTOTIC) & ~dying)
    transition = draws.normal((count,)) * groups.ctc_epithelial_log_sd
    factors = {
        "epithelial": 1 + groups.ctc_epithelial * torch.exp(transition) / levels[:, epithelial],
        "mesenchymal": groups.ctc_mesenchymal * torch.exp(-0.6 * transition),
        "target": groups.ctc_target,
        "stem": groups.ctc_stem * torch.exp(-0.3 * transition),
    }
    for role in CTC_CYTOPLASM_STAINS:
        levels[:, ROLES.index(role)] *= torch.where(tumour, factors[role], 1.0)
    visible = torch.where(kind == FRAGMENT, FRAGMENT_LEAST, 0.0)
    levels[:, epithelial] = torch.maximum(levels[:, epithelial], visible)
    return levels


def _amplitude(
    kind: Tensor, nucleus_radius: Tensor, groups: Groups, panel_roles: tuple[str, ...], draws: Draws
) -> Tensor:
    """Peak electrons (M, C, 3); the nucleus's dye adds up to the DNA content (CTC: 1.4 times, log-SD 0.3)."""
    count = len(kind)
    levels = role_levels(kind, groups, draws)
    dna = torch.where(kind == CTC, 1.4 * draws.spread((count,), 0.3), 1.0)
    concentration = (dna * (3.2 / nucleus_radius).square()).clamp(0.25, 3.0)
    levels[:, ROLES.index("nucleus")] *= concentration
    rows = [ROLES.index(role) for role in panel_roles]
    repeated = torch.tensor([panel_roles.index(r) != i for i, r in enumerate(panel_roles)], device=draws.device)
    own = torch.exp(draws.normal((count, len(rows)), 0.35) * repeated)
    unit = torch.tensor([UNIT_ELECTRONS[role] for role in panel_roles], device=draws.device)
    share = torch.tensor([ROLE_COMPARTMENTS.get(role, (0.0, 1.0, 0.0)) for role in panel_roles], device=draws.device)
    return (levels[:, rows] * own * unit * groups.stain)[:, :, None] * share


def touching(angle: Tensor, distance_um: Tensor) -> Tensor:
    """Offset (M, 2) in um at `distance_um` in direction `angle`."""
    return _vector(angle, distance_um)


def area_um2(bodies: Bodies) -> Tensor:
    """Area (M,) of each body's outline."""
    return math.pi * bodies.radius.square()
