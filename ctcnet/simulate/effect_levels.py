"""How strongly each effect shows in each group: drawn per group, from nil to strong, as cartridges differ."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ctcnet.panel import Panel
from ctcnet.simulate.cells import UNIT_ELECTRONS
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.groups import Groups

SPECKS_PER_MM2: dict[str, tuple[float, float]] = {"epithelial": (300.0, 60_000.0), "leukocyte": (300.0, 6_000.0)}
"""Range of the density of specks by role (slide: CK 26,000, CD45 4,000 to 5,000 per mm2; 42,000 CK specks are above
half of the leukocytes' level, and many of those simulated lie below it or in another); other roles have few."""
DIRTY_SHARE, DIRTY_PER_MM2 = 0.3, (20_000.0, 110_000.0)
"""Groups whose epithelial specks are as dense as the slide's, where the range above makes that rare."""
OTHER_SPECKS_PER_MM2 = (100.0, 1_500.0)
SPECK_PEAK: dict[str, float] = {"epithelial": 2.4, "leukocyte": 0.35}
"""Median peak of a speck behind the optics in units of the leukocytes' stain (slide: CK 45 against 24 counts, CD45
17 against 89; the measured level of leukocytes holds their specks, and defocus takes a part); 0.35 for the others."""
SPECKLESS_ROLES = ("nucleus", "transmitted", "scatter", "none", "probe")
SPECK_LOG_SD = (0.5, 0.9)
"""Spread of the specks' peaks (slide: 37 % of CK specks above 60, 12 % above 120 at a median of 45 counts: 0.85)."""
SPECKS_ON_CELL = (0.0, 6.0)
"""Mean number of epithelial specks on a cell (slide: 4, 1 to 6)."""
JPEG_SHARE_8_BIT, JPEG_SHARE_OTHER = 0.6, 0.08
"""Share of groups with JPEG compression (the slide is 8-bit JPEG; shares: general knowledge)."""
JPEG_QUALITY = (60.0, 95.0)
JPEG_WHITE = 8.0
"""What files of other bit depths show as white: so many times the leukocytes' stain (general knowledge)."""
SHIFT_SD_PX, SHIFT_MOST_PX = 0.85, 1.5
"""A group's shifts have an SD of 0 to `SHIFT_SD_PX`, 0.5 over all (slide, frames 4 and 5: up to 1.5 px)."""
ASTIGMATISM = 0.6
"""Most that the wide axis exceeds the narrow one by (slide: 0.67 px against 0.76 to 1.07 px, 13 to 60 %)."""
MOTION_SHARE, MOTION_PX = 0.05, (1.0, 4.0)
"""Share of groups with motion blur and its length (general knowledge)."""
HOT_PER_PIXEL = (1e-6, 3e-4)
"""Hot pixels per pixel and channel (general knowledge: cooled to uncooled cameras)."""
VIGNETTING, STAIN_LOG_SD = 0.5, 0.3
"""Most light lost at the frame's corner; most spread of stain between places (general knowledge)."""
AUTOFLUORESCENT_SHARE = 0.05
"""Most leukocytes with autofluorescence in all channels (eosinophils: 1 to 5 % of leukocytes, general knowledge)."""
DOUBLE_POSITIVE_SHARE, DOUBLE_POSITIVE_SHARE_PICTURES = 0.06, 0.6
"""Most single leukocytes that are CK+ as well, beside the 6 % of `cells.UNSPECIFIC_SHARE` (slide: 4 % at twice the
level or more); of display pictures more, which are taken of what caught the eye (the 20 real non-CTC crops are all CK+
and CD45+)."""
DOUBLE_POSITIVE_SIZE_PICTURES = 1.8
"""Most that such a cell of a display picture exceeds its kind's diameter by, as a factor (crops noCTC 0001 to 0009: 11
to 15 um at the pixel size taken for them; leukocytes 8.5)."""
DOUBLE_POSITIVE_POWER_PICTURES = 0.5
"""Power of how much brighter in CK they are there (noCTC 0001 to 0009: CK and CD45 shine alike, within a factor of 2;
in CTCs CK shines six times or more)."""
WEAK_CD45_SHARE = 0.1
"""Most leukocytes with faint CD45, beside the 5 % of `cells.WEAK_SHARE` (slide: 2.7 % below a sixth)."""
LEUKOCYTE_SIZE_LOG_SD = 0.06
"""Spread of size between groups (7.7 um for FITC+ and 8.8 um for FITC- cells of the slide)."""
EDGE_SHARE = 0.08
"""Most crops at the border of what was scanned (2 % of a lone frame of the slide)."""
FLOATERS_PER_MM2 = (0.5, 60.0)
"""Cells far out of focus by themselves (slide, position 2: 8 per mm2)."""
CLUTTER_PER_MM2 = (5.0, 150.0)
"""Vesicles, bubbles, fibres and aggregates beside the event (general knowledge)."""


@dataclass(frozen=True)
class EffectLevels:
    """One row per group; an effect that is off has the strength that changes nothing.

    Attributes:
        specks_per_mm2: (G, C).
        speck_peak_e: (G, C) median peak of a speck in focus, behind the optics, in electrons.
        speck_log_sd: (G,) spread of the specks' peaks.
        specks_on_cell: (G, C) mean number.
        jpeg_quality: (G,) 0 where nothing is compressed.
        jpeg_white_counts: (G, C) counts that an 8-bit file shows as 255.
        shift_px: (G, C, 2) of each channel along x and y.
        astigmatism: (G,) most that the wide axis of the PSF exceeds the narrow one by, as a share.
        motion_px: (G, 2) length of the blur along x and y.
        hot_per_pixel: (G,).
        vignetting: (G,) light lost in the corner of a frame, as a share.
        stain_log_sd: (G,) spread of stain between places.
        autofluorescent_share, double_positive_share, weak_cd45_share: (G,) of the leukocytes.
        double_positive_size: (G,) most of the factor on the diameter of CK+ leukocytes; the least is 1.
        double_positive_power: (G,) power of what their CK exceeds the least of CK+ cells by, as a factor.
        leukocyte_size: (G,) factor on the diameter.
        clutter_per_mm2: (G,).
        edge_share: (G,) of the crops.
        floaters_per_mm2: (G,).
    """

    specks_per_mm2: Tensor
    speck_peak_e: Tensor
    speck_log_sd: Tensor
    specks_on_cell: Tensor
    jpeg_quality: Tensor
    jpeg_white_counts: Tensor
    shift_px: Tensor
    astigmatism: Tensor
    motion_px: Tensor
    hot_per_pixel: Tensor
    vignetting: Tensor
    stain_log_sd: Tensor
    autofluorescent_share: Tensor
    double_positive_share: Tensor
    weak_cd45_share: Tensor
    double_positive_size: Tensor
    double_positive_power: Tensor
    leukocyte_size: Tensor
    clutter_per_mm2: Tensor
    edge_share: Tensor
    floaters_per_mm2: Tensor

    def rows(self, index: Tensor) -> EffectLevels:
        """The strengths of each crop or body, given its row (N,)."""
        return EffectLevels(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def draw_effect_levels(panel: Panel, groups: Groups, effects: Effects, draws: Draws) -> EffectLevels:
    """Draw the strengths of all groups; each takes the same numbers from `draws` whether its effect is on or off."""
    count, channels = groups.stain.shape
    one, per_channel = (count,), (count, channels)
    unit = torch.tensor([abs(UNIT_ELECTRONS[role]) for role in panel.roles], device=draws.device)
    peak = torch.tensor([SPECK_PEAK.get(role, 0.35) for role in panel.roles], device=draws.device)
    epithelial = torch.tensor([role == "epithelial" for role in panel.roles], device=draws.device)
    pictures = panel.rgb_order is not None
    double_positive = DOUBLE_POSITIVE_SHARE_PICTURES if pictures else DOUBLE_POSITIVE_SHARE
    largest = DOUBLE_POSITIVE_SIZE_PICTURES if pictures and effects.leukocyte_variety else 1.0
    power = DOUBLE_POSITIVE_POWER_PICTURES if pictures and effects.leukocyte_variety else 1.0
    shift = draws.normal((count, channels, 2)) * draws.uniform((count, 1, 1), 0.0, SHIFT_SD_PX)
    return EffectLevels(
        specks_per_mm2=_specks_per_mm2(panel, count, draws) * effects.dense_specks,
        speck_peak_e=peak * unit * groups.stain * draws.spread(per_channel, 0.3),
        speck_log_sd=draws.uniform(one, *SPECK_LOG_SD),
        specks_on_cell=draws.uniform((count, 1), *SPECKS_ON_CELL) * epithelial * effects.dense_specks,
        jpeg_quality=_jpeg_quality(panel, count, draws) * effects.jpeg,
        jpeg_white_counts=_white_counts(panel, groups, unit),
        shift_px=shift.clamp(-SHIFT_MOST_PX, SHIFT_MOST_PX) * effects.channel_shift,
        astigmatism=draws.uniform(one, 0.0, ASTIGMATISM) * effects.astigmatism,
        motion_px=_motion_px(count, draws) * effects.motion,
        hot_per_pixel=draws.log_uniform(one, *HOT_PER_PIXEL) * effects.hot_pixels,
        vignetting=draws.uniform(one, 0.0, VIGNETTING) * effects.shading,
        stain_log_sd=draws.uniform(one, 0.0, STAIN_LOG_SD) * effects.shading,
        autofluorescent_share=draws.uniform(one, 0.0, AUTOFLUORESCENT_SHARE) * effects.leukocyte_variety,
        double_positive_share=draws.uniform(one, 0.0, double_positive) * effects.leukocyte_variety,
        weak_cd45_share=draws.uniform(one, 0.0, WEAK_CD45_SHARE) * effects.leukocyte_variety,
        double_positive_size=torch.full(one, largest, device=draws.device),
        double_positive_power=torch.full(one, power, device=draws.device),
        leukocyte_size=draws.spread(one, LEUKOCYTE_SIZE_LOG_SD * effects.leukocyte_variety),
        clutter_per_mm2=draws.log_uniform(one, *CLUTTER_PER_MM2) * effects.vesicles,
        edge_share=draws.uniform(one, 0.0, EDGE_SHARE) * effects.frame_edge,
        floaters_per_mm2=draws.log_uniform(one, *FLOATERS_PER_MM2) * effects.floaters,
    )


def _specks_per_mm2(panel: Panel, count: int, draws: Draws) -> Tensor:
    columns = []
    for role in panel.roles:
        density = draws.log_uniform((count,), *SPECKS_PER_MM2.get(role, OTHER_SPECKS_PER_MM2))
        dirty = draws.chance((count,), DIRTY_SHARE * (role == "epithelial"))
        density = torch.where(dirty, draws.log_uniform((count,), *DIRTY_PER_MM2), density)
        columns.append(density * (role not in SPECKLESS_ROLES))
    return torch.stack(columns, 1)


def _jpeg_quality(panel: Panel, count: int, draws: Draws) -> Tensor:
    share = JPEG_SHARE_8_BIT if panel.bit_depth <= 8 else JPEG_SHARE_OTHER
    compressed = draws.chance((count,), share)
    return draws.uniform((count,), *JPEG_QUALITY).round() * compressed


def _white_counts(panel: Panel, groups: Groups, unit: Tensor) -> Tensor:
    white_e = groups.background_e + JPEG_WHITE * unit * groups.stain
    counts = (groups.offset_counts + white_e / groups.electrons_per_count).clamp(32, panel.full_scale)
    return counts if panel.bit_depth > 8 else torch.full_like(counts, panel.full_scale)


def _motion_px(count: int, draws: Draws) -> Tensor:
    length = draws.uniform((count,), *MOTION_PX) * draws.chance((count,), MOTION_SHARE)
    along_x = draws.chance((count,), 0.5)
    return torch.stack((length * along_x, length * ~along_x), 1)
