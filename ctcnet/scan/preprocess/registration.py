"""Shift and correlation between the channels of a frame, undone where they are sure.

Method: every channel is reduced, compressed and band-passed to the size of cells (`CellBand`); the
normalised cross-correlation of two channels over all believable shifts comes from one product of their spectra, and its
peak is refined below a pixel by evaluating the same Fourier sum on a fine grid around it (the matrix form of
Guizar-Sicairos et al., Opt. Lett. 33, 156, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctcnet.scan.platform import RegistrationSettings
from ctcnet.scan.preprocess.cell_band import CellBand, Peak

STILL_ROLES = ("none", "transmitted", "scatter")
"""Roles whose channels are measured but never moved."""
SHARED_ROLES = ("nucleus", "leukocyte")
"""Roles that nearly every cell of blood shows: two of them that correlate at no shift do not belong together."""
LEAST_SHIFT_PX = 0.15
"""Smaller shifts are left as they are."""
LEAST_CELLS = 8.0
"""Matching structures, in cells, that a shift must rest on: by chance two or three of a frame's cells fit any shift."""
LEAST_CELLS_TO_CONTRADICT = 20.0
LEAST_DISTINCTNESS = 1.5
"""Height of the peak over the highest correlation elsewhere (an edge or fibre gives a ridge, not a peak)."""
VERDICTS = ("aligned", "undone", "left", "too_little_signal", "no_shift_fits")


@dataclass(frozen=True)
class ChannelShifts:
    """How the channels of one frame lie on each other.

    Attributes:
        shift_px: float32 (C, 2), (x, y) by which each channel's content is displaced from the reference and which
            `undo_shifts` undoes: what stands at p in the reference stands at p + shift in the channel. 0 where
            nothing is undone.
        measured_px: float32 (C, 2), the displacement measured, whether undone or not; NaN where it is not sure.
        correlation_before, correlation_after: float32 (C,), -1 to 1, normalised correlation of the band-passed channel
            with the channel it was compared with, without a shift and at the best one (within the shifts believed);
            1 for the reference, NaN where a channel is flat.
        sure: bool (C,), whether the displacement is known; true for the reference.
        reference: channel that the others are compared with.
        verdict: for each channel 'aligned' (nothing to undo), 'undone', 'left' (displaced, but of a role that is not
            moved), 'too_little_signal' (nothing can be said; left as it is) or 'no_shift_fits' (enough cells in both,
            and they agree at no shift).
    """

    shift_px: np.ndarray
    measured_px: np.ndarray
    correlation_before: np.ndarray
    correlation_after: np.ndarray
    sure: np.ndarray
    reference: int
    verdict: tuple[str, ...]

    @property
    def unregistered(self) -> bool:
        """Whether some channel contradicts the reference, so that the frame's cells cannot be believed."""
        return "no_shift_fits" in self.verdict


def measure_shifts(
    counts: Tensor, roles: Sequence[str], pixel_size_um: float, settings: RegistrationSettings
) -> ChannelShifts:
    """Measure the displacement of every channel of a frame from its reference.

    The reference is the first leukocyte channel, else the first nucleus channel, else the first channel; it is the
    nucleus where that contradicts the leukocyte channel and agrees with more channels. A channel that shows too little
    of the reference's cells (CK on CTCs) is compared with the nucleus, and the two displacements are added.

    Args:
        counts: (C, H, W) float32 camera counts, any device.
        roles: role of each channel.
        pixel_size_um: micrometres per pixel.
        settings: largest shift and least correlation.
    """
    band = CellBand(counts, pixel_size_um, settings.largest_shift_um)
    reference, bridge = _reference_and_bridge(band, roles, settings)
    before, after = np.ones(len(roles), np.float32), np.ones(len(roles), np.float32)
    measured = np.full((len(roles), 2), np.nan, np.float32)
    measured[reference] = 0
    verdict = ["aligned"] * len(roles)
    for channel in sorted(set(range(len(roles))) - {reference}, key=lambda c: (c != bridge, c)):
        peak, start = band.compare(reference, channel), measured[reference]
        if not _is_sure(peak, settings) and bridge not in (None, channel) and np.isfinite(measured[bridge]).all():
            over_bridge = band.compare(bridge, channel)
            if _is_sure(over_bridge, settings):
                peak, start = over_bridge, measured[bridge]
        before[channel], after[channel] = peak.unshifted, peak.height
        if _is_sure(peak, settings):
            measured[channel] = start + np.array([peak.x_px, peak.y_px], np.float32)
            verdict[channel] = _verdict_of(measured[channel], roles[channel])
        else:
            unfit = _contradicts(peak, (reference, channel), band, roles)
            verdict[channel] = "no_shift_fits" if unfit else "too_little_signal"
    undone = np.array([word == "undone" for word in verdict])
    sure = np.array([bool(np.isfinite(row).all()) for row in measured])
    shift = np.where(undone[:, None], measured, 0).astype(np.float32)
    return ChannelShifts(shift, measured, before, after, sure, reference, tuple(verdict))


def _reference_and_bridge(
    band: CellBand, roles: Sequence[str], settings: RegistrationSettings
) -> tuple[int, int | None]:
    """The reference, and the nucleus channel where that is another one."""
    nucleus = roles.index("nucleus") if "nucleus" in roles else None
    if "leukocyte" not in roles:
        return nucleus or 0, None
    leukocyte = roles.index("leukocyte")
    if nucleus is None or _is_sure(band.compare(leukocyte, nucleus), settings):
        return leukocyte, nucleus
    others = [c for c, role in enumerate(roles) if role not in STILL_ROLES and c not in (leukocyte, nucleus)]
    fits_leukocyte, fits_nucleus = (
        sum(_is_sure(band.compare(reference, channel), settings) for channel in others)
        for reference in (leukocyte, nucleus)
    )
    return (nucleus, leukocyte) if fits_nucleus > fits_leukocyte else (leukocyte, nucleus)


def _is_sure(peak: Peak, settings: RegistrationSettings) -> bool:
    return (
        peak.height >= settings.least_correlation
        and peak.height >= LEAST_DISTINCTNESS * peak.elsewhere
        and peak.cells >= LEAST_CELLS
        and not peak.at_limit
    )


def _contradicts(peak: Peak, pair: tuple[int, int], band: CellBand, roles: Sequence[str]) -> bool:
    enough = all(band.cells(channel) >= LEAST_CELLS_TO_CONTRADICT for channel in pair)
    distinct = peak.height >= LEAST_DISTINCTNESS * peak.elsewhere and not peak.at_limit
    return enough and not distinct and all(roles[channel] in SHARED_ROLES for channel in pair)


def _verdict_of(measured_px: np.ndarray, role: str) -> str:
    if float(np.hypot(*measured_px)) < LEAST_SHIFT_PX:
        return "aligned"
    return "left" if role in STILL_ROLES else "undone"


def undo_shifts(counts: Tensor, shifts: ChannelShifts) -> Tensor:
    """Move every channel by its `shift_px`, in place, between pixels by cubic convolution (Keys 1981, a = -0.5).

    Pixels without a source repeat the channel's border. Values stay between the channel's least and largest.

    Args:
        counts: (C, H, W) float32; changed.
        shifts: of these channels.

    Returns:
        (H, W) bool, where every channel has a source.
    """
    height, width = counts.shape[1:]
    valid = torch.ones((height, width), dtype=torch.bool, device=counts.device)
    for image, (x_px, y_px) in zip(counts, shifts.shift_px.tolist(), strict=True):
        if not (x_px or y_px):
            continue
        least, most = torch.aminmax(image)
        torch.clamp(_shift_along(_shift_along(image, y_px, 0), x_px, 1), least, most, out=image)
        rows = torch.arange(height, device=counts.device) + y_px
        columns = torch.arange(width, device=counts.device) + x_px
        valid &= ((rows >= 0) & (rows <= height - 1))[:, None] & ((columns >= 0) & (columns <= width - 1))
    return valid


def _shift_along(image: Tensor, shift_px: float, axis: int) -> Tensor:
    """Line r of the result along an axis is the image at r + shift; lines outside repeat the border."""
    lines = image.shape[axis]
    whole = math.floor(shift_px)
    t = shift_px - whole
    source = (torch.arange(lines + 3, device=image.device) + (whole - 1)).clamp(0, lines - 1)
    padded = image.index_select(axis, source)
    if t == 0:
        return padded.narrow(axis, 1, lines)
    result = padded.narrow(axis, 1, lines) * ((1.5 * t - 2.5) * t * t + 1.0)
    result.add_(padded.narrow(axis, 0, lines), alpha=((-0.5 * t + 1.0) * t - 0.5) * t)
    result.add_(padded.narrow(axis, 2, lines), alpha=((-1.5 * t + 2.0) * t + 0.5) * t)
    return result.add_(padded.narrow(axis, 3, lines), alpha=(0.5 * t - 0.5) * t * t)
