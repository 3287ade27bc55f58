"""Effects that are a change of what a group's patients, stains and cameras are anyhow."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ctcnet.panel import Panel
from ctcnet.simulate.cells import UNIT_ELECTRONS
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.groups import Groups

CLIPPED_SHARE, CLIPPED_CHANNEL_SHARE = 0.5, 0.7
"""Share of groups with a clipped background, and of their channels (general knowledge)."""
CLIPPED_AT_SD = (0.0, 2.5)
"""Where 0 counts lie above the background, in deviations of its noise (slide: 90 to 99 % of the pixels are at 0)."""
BRIGHTEST_BACKGROUND = 0.25
"""Most that a gain brings the background to, in units of full scale: operators keep it dark (general knowledge)."""
LEVEL_8_BIT = (0.015, 1.3)
"""Leukocytes' stain as a share of full scale on 8-bit cameras, whose gain the operator sets by eye (slide: DAPI 105,
CK 21, CD45 89 of 255 counts)."""
LIGHT = (1.0, 6.0)
"""Stain and exposure over those of `cells.UNIT_ELECTRONS` where the gain differs (7 electrons per count follow from
the variance/mean of 0.146 on the lossless TRITC picture, so that the slide's CK of 24 counts are about 170)."""
GAIN_OTHER, GAIN_SHARE_OTHER = (1.5, 20.0), 0.35
"""Gain of other cameras, in a share of the groups' channels (general knowledge)."""
BRIGHTEST_LEUKOCYTE = 1.5
"""Most that the gain of other cameras brings the leukocytes' stain to, in units of full scale."""
SHOWN_POSITIVE = (0.25, 1.5)
"""What a display picture shows of full scale where a cell is positive: leukocytes for their own stains, CTCs for the
tumour's, which are stretched until they are seen (crops of CTCs: 80 to 255 of 255 counts, their CD45 1 to 57)."""
SHOWN_TUMOUR_LEAST = 3.0
"""Least stain, in units of the leukocytes', for which a tumour's channel is stretched."""
SHOWN_BACKGROUND = (0.0, 0.1)
"""What a display picture shows of full scale where nothing is (crops of CTCs: 0 to 23 of 255 counts)."""
LEUKOCYTES_PER_MM2 = (150.0, 3000.0)
"""Crowding: 1,100 cells on a frame of 1362 x 1004 px at 0.59 um are 2,300 per mm2 (slide: 1,050 to 1,850). Those that
would touch the event or lie within another are left out afterwards, which takes up to a third."""
CULTURED_SHARE, CULTURED_UM = 0.12, (14.0, 20.0)
SMALL_SHARE, SMALL_UM = 0.15, (6.5, 8.5)
"""Groups whose CTCs have the size of cultured cells (18.4 to 20.7 um) or are smaller than leukocytes (7.5 um)."""
CTC_EPITHELIAL = (0.2, 25.0)
"""Median CK of a group's CTCs in units of the leukocytes' level (EpCAM and CK fall about tenfold in the transition)."""
ELSEWHERE_SHARE = 0.5
"""Share of the groups whose CTCs have a stain out of `CTC_EPITHELIAL`; the others keep the one they have."""


def change_groups(groups: Groups, panel: Panel, effects: Effects, draws: Draws) -> Groups:
    """Groups under the effects that concern them as a whole; those that are off change nothing."""
    if effects.saturation and panel.rgb_order is None:
        groups = _with_gain(groups, panel, draws)
    if effects.clipped_background:
        groups = _clipped(groups, panel, draws)
    if effects.cytoplasm:
        groups = _with_diverse_tumours(groups, draws)
    if effects.saturation and panel.rgb_order is not None:
        groups = _displayed(groups, panel, draws)
    if effects.crowding:
        crowded = draws.log_uniform((len(groups.tumour),), *LEUKOCYTES_PER_MM2)
        groups = replace(groups, leukocytes_per_mm2=crowded)
    if effects.dense_specks:
        groups = replace(groups, specks_per_mm2=torch.zeros_like(groups.specks_per_mm2))
    return groups


def _fluorescent(panel: Panel, device: torch.device) -> Tensor:
    return torch.tensor([role not in ("transmitted", "none") for role in panel.roles], device=device)


def _with_gain(groups: Groups, panel: Panel, draws: Draws) -> Groups:
    shape = tuple(groups.stain.shape)
    eight_bit = panel.bit_depth <= 8
    chosen = draws.chance(shape, 1.0 if eight_bit else GAIN_SHARE_OTHER) & _fluorescent(panel, draws.device)
    stain = torch.where(chosen, groups.stain * draws.log_uniform(shape, *LIGHT), groups.stain)
    unit = torch.tensor([max(1.0, UNIT_ELECTRONS[role]) for role in panel.roles], device=draws.device)
    full_scale = panel.full_scale * groups.electrons_per_count / (unit * stain)
    other = torch.minimum(draws.log_uniform(shape, *GAIN_OTHER), BRIGHTEST_LEUKOCYTE * full_scale)
    gain = draws.log_uniform(shape, *LEVEL_8_BIT) * full_scale if eight_bit else other
    dark_enough = BRIGHTEST_BACKGROUND * panel.full_scale * groups.electrons_per_count / groups.background_e
    gain = torch.where(chosen, torch.minimum(gain, dark_enough), 1.0).clamp_min(1.0)
    return replace(groups, stain=stain, electrons_per_count=groups.electrons_per_count / gain)


def _displayed(groups: Groups, panel: Panel, draws: Draws) -> Groups:
    """Stretch of display pictures: each channel until what is positive in it is seen."""
    shape = tuple(groups.stain.shape)
    unit = torch.tensor([max(1.0, UNIT_ELECTRONS[role]) for role in panel.roles], device=draws.device)
    levels = {"epithelial": groups.ctc_epithelial, "mesenchymal": groups.ctc_mesenchymal, "target": groups.ctc_target}
    one = torch.ones_like(groups.ctc_epithelial)
    shown = [levels[role].clamp_min(SHOWN_TUMOUR_LEAST) if role in levels else one for role in panel.roles]
    white_e = unit * groups.stain * torch.stack(shown, 1) / draws.log_uniform(shape, *SHOWN_POSITIVE)
    per_count = white_e / panel.full_scale
    dark = draws.uniform(shape, *SHOWN_BACKGROUND) * panel.full_scale - groups.background_e / per_count
    return replace(groups, electrons_per_count=per_count, offset_counts=dark)


def _clipped(groups: Groups, panel: Panel, draws: Draws) -> Groups:
    shape = tuple(groups.stain.shape)
    chosen = draws.chance((shape[0], 1), CLIPPED_SHARE) & draws.chance(shape, CLIPPED_CHANNEL_SHARE)
    chosen &= _fluorescent(panel, draws.device)
    noise_e = (groups.background_e + groups.read_noise_e.square()).sqrt()
    above_e = groups.background_e + draws.uniform(shape, *CLIPPED_AT_SD) * noise_e
    low = -above_e / groups.electrons_per_count
    return replace(groups, offset_counts=torch.where(chosen, low, groups.offset_counts))


def _with_diverse_tumours(groups: Groups, draws: Draws) -> Groups:
    shape = tuple(groups.tumour.shape)
    chance = draws.uniform(shape)
    diameter = torch.where(chance < CULTURED_SHARE, draws.uniform(shape, *CULTURED_UM), groups.ctc_diameter_um)
    diameter = torch.where(chance > 1 - SMALL_SHARE, draws.uniform(shape, *SMALL_UM), diameter)
    elsewhere = draws.log_uniform(shape, *CTC_EPITHELIAL)
    epithelial = torch.where(draws.chance(shape, ELSEWHERE_SHARE), elsewhere, groups.ctc_epithelial)
    return replace(groups, ctc_diameter_um=diameter, ctc_epithelial=epithelial)
