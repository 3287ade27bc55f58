"""Random panels: any subset of roles, cameras and dyes, for training a network that serves every panel."""

from __future__ import annotations

import numpy as np

from ctcnet.panel import Channel, Panel

ROLE_CHANCE: dict[str, float] = {
    "epithelial": 0.85,
    "leukocyte": 0.9,
    "mesenchymal": 0.35,
    "neutrophil": 0.4,
    "platelet": 0.4,
    "target": 0.35,
    "monocyte": 0.1,
    "t_cell": 0.1,
    "stem": 0.1,
    "probe": 0.1,
    "transmitted": 0.12,
    "scatter": 0.1,
}
"""How often a random panel has a role beside the nucleus, which every panel has."""
TUMOUR_ROLES = ("epithelial", "mesenchymal", "target")
"""One of these is in every random panel: without any, no CTC could be told."""
SECOND_CHANCE: dict[str, float] = {"epithelial": 0.1, "mesenchymal": 0.05, "leukocyte": 0.05, "target": 0.1}
"""How often a role stands twice, as CK and EpCAM do."""
MOST_CHANNELS = 7
EMISSIONS_NM = (519.0, 565.0, 578.0, 617.0, 665.0, 775.0)
"""FITC or AF488, AF555, PE, AF594, APC or AF647, AF750."""
NUCLEUS_NM = 461.0
BIT_DEPTHS = (8, 8, 12, 12, 16)
UNSTAINED = ("transmitted", "scatter")


def draw_panel(rng: np.random.Generator) -> Panel:
    """A panel of 2 to `MOST_CHANNELS` channels: a nucleus, a tumour marker, and others by `ROLE_CHANCE`."""
    roles = [role for role, chance in ROLE_CHANCE.items() if rng.random() < chance]
    if not set(roles) & set(TUMOUR_ROLES):
        roles.append(TUMOUR_ROLES[rng.integers(len(TUMOUR_ROLES))])
    roles += [role for role, chance in SECOND_CHANCE.items() if role in roles and rng.random() < chance]
    while len(roles) > MOST_CHANNELS - 1:
        removable = [role for role in roles if role not in TUMOUR_ROLES] or roles
        roles.remove(removable[rng.integers(len(removable))])
    dyes = list(rng.permutation(EMISSIONS_NM)) * 2
    channels = [Channel("nucleus_0", "nucleus", emission_nm=NUCLEUS_NM)]
    for position, role in enumerate(roles):
        emission_nm = None if role in UNSTAINED else float(dyes[position])
        channels.append(Channel(f"{role}_{position + 1}", role, emission_nm=emission_nm))
    return Panel("random", tuple(channels), int(rng.choice(BIT_DEPTHS)))
