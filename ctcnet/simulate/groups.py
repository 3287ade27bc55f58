"""Patients: what all crops of one group share, from tumour to staining, focus and background."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ctcnet.panel import Panel
from ctcnet.simulate.camera import Sensor, electrons_per_count
from ctcnet.simulate.draws import Draws

TUMOURS: tuple[str, ...] = ("breast", "prostate", "colorectal", "bladder")
CTC_DIAMETER_UM: tuple[float, ...] = (12.4, 10.3, 7.5, 8.6)
"""Median CTC diameter by tumour (71,612 CTCs, PMC7782084)."""
TUMOUR_SHARE: tuple[float, ...] = (0.35, 0.25, 0.25, 0.15)

LEUKOCYTE_SHARES: tuple[float, ...] = (0.35, 0.5, 0.15)
"""Mean share of lymphocytes, granulocytes and monocytes."""

BRIGHT_FIELD_SHARE = 0.4
"""Background of a transmitted-light channel as a share of the full well."""


@dataclass(frozen=True)
class Groups:
    """One row per patient, float32 unless said.

    Attributes:
        tumour: (G,) int64, row of `TUMOURS`.
        batch: (G,) int64, scanner.
        ctc_diameter_um: (G,) median.
        ctc_epithelial: (G,) median epithelial stain of CTCs in units of the leukocyte level.
        ctc_epithelial_log_sd: (G,) spread among the patient's CTCs.
        ctc_mesenchymal, ctc_target, ctc_stem: (G,) median stains of CTCs.
        leukocyte_shares: (G, 3) lymphocytes, granulocytes, monocytes.
        leukocytes_per_mm2, platelets_per_mm2, specks_per_mm2: (G,).
        activation: (G,) platelets adherent to a clustered CTC, mean beyond the least number.
        stain: (G, C) factor on every signal of the channel.
        background_e: (G, C) electrons per px.
        offset_counts: (G, C) camera offset.
        read_noise_e: (G, C).
        electrons_per_count: (G, C).
        optics_factor: (G,) PSF relative to theory.
        defocus_sd_um: (G,) spread of the events' distance from the focal plane.
        channel_focus_um: (G, C) chromatic focal shift.
        bleed: (G, C, C) share of channel i's signal in channel j at [j, i], 1 on the diagonal.
    """

    tumour: Tensor
    batch: Tensor
    ctc_diameter_um: Tensor
    ctc_epithelial: Tensor
    ctc_epithelial_log_sd: Tensor
    ctc_mesenchymal: Tensor
    ctc_target: Tensor
    ctc_stem: Tensor
    leukocyte_shares: Tensor
    leukocytes_per_mm2: Tensor
    platelets_per_mm2: Tensor
    specks_per_mm2: Tensor
    activation: Tensor
    stain: Tensor
    background_e: Tensor
    offset_counts: Tensor
    read_noise_e: Tensor
    electrons_per_count: Tensor
    optics_factor: Tensor
    defocus_sd_um: Tensor
    channel_focus_um: Tensor
    bleed: Tensor

    def rows(self, index: Tensor) -> Groups:
        """The parameters of each crop, given its group (N,)."""
        return Groups(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def draw_groups(panel: Panel, count: int, scanners: int, draws: Draws, difficulty: float = 1.0) -> Groups:
    """Draw `count` patients on `scanners` scanners.

    Args:
        difficulty: scales the spread between patients, the share of weakly stained CTCs, bleed-through and defocus;
            1 is the five-class task of the README, 0.5 easy, 1.5 hard.
    """
    channels, one = len(panel.channels), (count,)
    tumour = draws.choose(torch.tensor(TUMOUR_SHARE, device=draws.device).repeat(count, 1))
    batch = torch.arange(count, device=draws.device) % scanners
    shares = torch.tensor(LEUKOCYTE_SHARES, device=draws.device) * draws.spread((count, 3), 0.4)
    median_um = torch.tensor(CTC_DIAMETER_UM, device=draws.device)[tumour]
    per_channel = (count, channels)
    scanner_stain = draws.spread((scanners, channels), 0.2 * difficulty)[batch]
    return Groups(
        tumour=tumour,
        batch=batch,
        ctc_diameter_um=median_um * draws.spread(one, 0.08),
        ctc_epithelial=5.0 * draws.spread(one, 0.45 * difficulty) / max(difficulty, 0.5) ** 0.5,
        ctc_epithelial_log_sd=draws.uniform(one, 0.8, 1.2) * difficulty,
        ctc_mesenchymal=1.2 * draws.spread(one, 0.5),
        ctc_target=2.0 * draws.spread(one, 0.9),
        ctc_stem=0.8 * draws.spread(one, 0.5),
        leukocyte_shares=shares / shares.sum(1, keepdim=True),
        leukocytes_per_mm2=draws.log_uniform(one, 200.0, 1800.0),
        platelets_per_mm2=draws.log_uniform(one, 300.0, 5000.0),
        specks_per_mm2=draws.log_uniform(one, 300.0, 10_000.0),
        activation=draws.uniform(one, 0.0, 3.0),
        stain=scanner_stain * draws.spread(per_channel, 0.35 * difficulty),
        background_e=_background_e(panel, count, draws),
        offset_counts=_offset_counts(panel, batch, scanners, draws),
        read_noise_e=Sensor.of_bit_depth(panel.bit_depth).read_noise_e
        * draws.spread((scanners, 1), 0.15)[batch].expand(per_channel),
        electrons_per_count=electrons_per_count(panel).to(draws.device) * draws.spread(per_channel, 0.05),
        optics_factor=draws.uniform((scanners,), 1.2, 1.4)[batch] * draws.uniform(one, 1.0, 1.07),
        defocus_sd_um=draws.uniform(one, 1.5, 3.5) * difficulty,
        channel_focus_um=draws.normal((scanners, channels), 0.6)[batch],
        bleed=_bleed(panel, count, draws, difficulty),
    )


def _background_e(panel: Panel, count: int, draws: Draws) -> Tensor:
    background = draws.log_uniform((count, len(panel.channels)), 40.0, 200.0)
    transmitted = torch.tensor([role == "transmitted" for role in panel.roles], device=draws.device)
    bright = Sensor.of_bit_depth(panel.bit_depth).full_well_e * BRIGHT_FIELD_SHARE
    return torch.where(transmitted, bright * draws.spread((count, 1), 0.15), background)


def _offset_counts(panel: Panel, batch: Tensor, scanners: int, draws: Draws) -> Tensor:
    offset = draws.uniform((scanners, len(panel.channels)), 0.005, 0.02)[batch] * panel.full_scale
    return offset * 0 if panel.rgb_order is not None else offset


def _bleed(panel: Panel, count: int, draws: Draws, difficulty: float) -> Tensor:
    """Shares by the distance of the emission peaks: 1-5 % at 60 nm towards the red, less than 1 % towards the blue."""
    channels = len(panel.channels)
    largest = torch.zeros((channels, channels))
    for source, channel in enumerate(panel.channels):
        for target, other in enumerate(panel.channels):
            if source != target and channel.emission_nm is not None and other.emission_nm is not None:
                gap_nm = other.emission_nm - channel.emission_nm
                towards_red = 0.05 * 2.0 ** (-(gap_nm - 60.0) / 40.0)
                largest[target, source] = min(0.06, towards_red) if gap_nm > 0 else 0.2 * 0.05 * 2.0 ** (gap_nm / 40.0)
    share = draws.uniform((count, channels, channels), 0.2, 1.0) * largest.to(draws.device) * difficulty
    return share + torch.eye(channels, device=draws.device)
