"""Warnings that a cartridge's levels give rise to: no leukocytes, weak stain, swapped channels and the like."""

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
TUMOUR_SNR_FACTOR, TUMOUR_COUNTS_FACTOR = 3.0, 5.0
"""Leukocytes whose median level in an epithelial channel is this many times that in their own channel, in multiples of
the noise and in counts, look like tumour cells: 0.2 and 0.4 at most on a real slide; a spillover of 2 % gives 50."""
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
        *_no_leukocyte_channel(levels, panel),
        *_look_like_tumour(levels, panel),
        *_weak_stains(levels, panel),
        *_swapped_channels(levels, panel),
        *_wrong_pixel_size(levels, pixel_size_um),
    ]


def _no_leukocyte_channel(levels: CartridgeLevels, panel: Panel) -> list[Note]:
    if "leukocyte" in panel.roles:
        return []
    message = (
        f"no channel shows leukocytes: all nucleated cells were used in their place ({levels.leukocytes} of "
        f"{levels.cells} after those that stand out in a tumour channel or touch others were left out); where many are "
        "tumour cells, the scale is theirs and stain that is called relative to it is called too low"
    )
    return [Note("no_leukocyte_channel", message)]


def _look_like_tumour(levels: CartridgeLevels, panel: Panel) -> list[Note]:
    """A warning where the cells taken for leukocytes are far brighter in an epithelial channel than in their own."""
    own = [index for index, role in enumerate(panel.roles) if role == "leukocyte"]
    tumour = [index for index, role in enumerate(panel.roles) if role == "epithelial"]
    if not own or not tumour:
        return []
    counts = np.maximum(levels.level_50.astype(np.float64), 0)
    snr = counts / levels.noise
    epithelial, leukocyte = max(tumour, key=lambda index: snr[index]), max(own, key=lambda index: snr[index])
    brighter = snr[epithelial] >= TUMOUR_SNR_FACTOR * snr[leukocyte]
    if not brighter or counts[epithelial] < TUMOUR_COUNTS_FACTOR * counts[leukocyte]:
        return []
    message = (
        f"the {levels.leukocytes} cells taken for leukocytes look like tumour cells: their median is "
        f"{snr[epithelial]:.0f} times the noise in {panel.markers[epithelial]} and {snr[leukocyte]:.0f} times in "
        f"{panel.markers[leukocyte]}; probably {panel.markers[epithelial]} spills over into "
        f"{panel.markers[leukocyte]} ({100 * counts[leukocyte] / counts[epithelial]:.1f} %), or there are no "
        "leukocytes on the slide; the scale is then not that of leukocytes: state the spillover in the platform file, "
        "or give --levels of a like cartridge"
    )
    return [Note("leukocytes_look_like_tumour", message)]


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
