"""Warnings that a cartridge's levels give rise to: no leukocytes, weak stain, swapped channels, wrong pixel size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Note

if TYPE_CHECKING:
    from ctcnet.scan.preprocess.levels import CartridgeLevels

LEAST_LEUKOCYTES = 20
"""Fewer leukocytes give no scale."""
WEAK_SNR = 5.0
"""Least median level of the leukocytes over the noise, for nucleus and leukocyte channels."""
NUCLEUS_DIAMETER_UM = (4.5, 11.0)
"""Medians outside this are not those of leukocytes: 7.0 um on a real slide (5-95 %: 5.2-8.1, field notes)."""


def levels_notes(levels: CartridgeLevels, panel: Panel, pixel_size_um: float) -> list[Note]:
    """Warnings that a cartridge's levels give rise to, each with its likely cause."""
    if levels.leukocytes < LEAST_LEUKOCYTES:
        message = (
            f"{levels.leukocytes} leukocytes in the sample of frames ({levels.cells} nucleated cells); at least "
            f"{LEAST_LEUKOCYTES} are needed to set the scale, so the model's own levels are used and absolute stain "
            "may be off"
        )
        return [Note("no_leukocytes", message)]
    return [
        *_weak_stains(levels, panel),
        *_swapped_channels(levels, panel),
        *_wrong_pixel_size(levels, pixel_size_um),
    ]


def _weak_stains(levels: CartridgeLevels, panel: Panel) -> list[Note]:
    notes = []
    for index, channel in enumerate(panel.channels):
        snr = float(levels.level_50[index] / levels.noise[index])
        if channel.role in ("nucleus", "leukocyte") and snr < WEAK_SNR:
            message = (
                f"{channel.marker} is weak: the leukocytes' median is {snr:.1f} times the noise (at least {WEAK_SNR:g} "
                "expected); probably a faint stain, a short exposure or a channel of another name"
            )
            notes.append(Note("weak_stain", message))
    return notes


def _swapped_channels(levels: CartridgeLevels, panel: Panel) -> list[Note]:
    if not {"nucleus", "leukocyte"} <= set(panel.roles):
        return []
    nucleus, leukocyte = panel.roles.index("nucleus"), panel.roles.index("leukocyte")
    filled, ring = float(levels.centre_to_ring[nucleus]), float(levels.centre_to_ring[leukocyte])
    if filled >= ring:
        return []
    message = (
        f"{panel.markers[nucleus]} shows rings and {panel.markers[leukocyte]} filled discs (centre to ring "
        f"{filled:.2f} and {ring:.2f}): the two channels are probably swapped; check the panel's order"
    )
    return [Note("swapped_channels", message)]


def _wrong_pixel_size(levels: CartridgeLevels, pixel_size_um: float) -> list[Note]:
    diameter_um = levels.nucleus_diameter_um
    least_um, most_um = NUCLEUS_DIAMETER_UM
    if not np.isfinite(diameter_um) or least_um <= diameter_um <= most_um:
        return []
    message = (
        f"the leukocytes' nuclei measure {diameter_um:.1f} um ({least_um:g} to {most_um:g} expected): the pixel size "
        f"of {pixel_size_um:g} um is probably wrong, or the frames are out of focus"
    )
    return [Note("wrong_pixel_size", message)]
