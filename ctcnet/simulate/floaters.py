"""Nuclei of cells that float far from the focal plane while what lies around them is sharp: large, faint, soft blobs.

`composition` has whole crops out of focus. In a thick sample one cell alone is: at an aperture of 0.45 a nucleus 20 to
40 um away from the plane is a blob of 10 to 20 um, among sharp cells and specks (position 2 of the slide has four, 18
to 20 um wide, at a tenth to a fifth of the others' DAPI and hardly any light in the other channels).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ctcnet.simulate.cells import UNIT_ELECTRONS
from ctcnet.simulate.composition import SHARP_DEFOCUS_UM, Scene
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.objects import Dots

FLOATER_SHARE = 0.5
"""Share of the events out of focus that are floaters; of the others the whole crop is out of focus."""
SIGMA_UM = (2.5, 8.0)
"""Gaussian SD of the blob."""
PEAK = (0.04, 0.5)
"""Peak of the nuclear stain, in units of a nucleus in focus."""
OTHER_STAIN = (0.0, 1.5)
"""The other channels' stain at that share of their light, in units of the leukocytes'."""
MOST = 3
"""Floaters around an event at most."""


def float_events(scene: Scene, groups: Groups, roles: tuple[str, ...], limit_um: float, draws: Draws) -> Scene:
    """The scene with `FLOATER_SHARE` of its events out of focus made floaters in a crop that is in focus.

    Args:
        limit_um: events further from the focal plane than this are out of focus.
    """
    count = len(scene.defocus_um)
    chosen = (scene.defocus_um.abs() > limit_um) & draws.chance((count,), FLOATER_SHARE)
    usual = (draws.normal((count,)) * groups.defocus_sd_um).clamp(-SHARP_DEFOCUS_UM, SHARP_DEFOCUS_UM)
    present = scene.bodies.present.clone()
    present[:count] &= ~chosen  # the first rows are the events' first bodies, one a crop; debris has no other
    rows = torch.nonzero(chosen)[:, 0]
    blobs = _blobs(rows, scene.bodies.centre[rows], groups, roles, draws)
    return replace(
        scene,
        bodies=replace(scene.bodies, present=present),
        defocus_um=torch.where(chosen, usual * limit_um / SHARP_DEFOCUS_UM, scene.defocus_um),
        floaters=Dots.concatenate([scene.floaters, blobs]),
    )


def float_around(
    scene: Scene, per_mm2: Tensor, groups: Groups, roles: tuple[str, ...], field_um: float, draws: Draws
) -> Scene:
    """The scene with floaters at `per_mm2` (N,) anywhere in the crops, behind whatever lies there."""
    number = draws.poisson(per_mm2 * field_um**2 * 1e-6).clamp_max(MOST)
    rows, _ = torch.nonzero(torch.arange(MOST, device=draws.device) < number[:, None], as_tuple=True)
    centre = draws.uniform((len(rows), 2), -field_um / 2, field_um / 2)
    return replace(scene, floaters=Dots.concatenate([scene.floaters, _blobs(rows, centre, groups, roles, draws)]))


def _blobs(crop: Tensor, centre: Tensor, groups: Groups, roles: tuple[str, ...], draws: Draws) -> Dots:
    """Blobs at `centre` (M, 2) of crops (M,)."""
    unit = torch.tensor([UNIT_ELECTRONS[role] for role in roles], device=draws.device)
    nuclear = torch.tensor([role == "nucleus" for role in roles], device=draws.device)
    shape = (len(crop), len(roles))
    share = torch.where(nuclear, 1.0, draws.uniform(shape, *OTHER_STAIN))
    peak = draws.log_uniform((len(crop), 1), *PEAK)
    return Dots(
        crop=crop,
        centre=centre,
        sigma=draws.uniform((len(crop),), *SIGMA_UM),
        amplitude=peak * share * unit * groups.stain[crop],
    )
