"""Warnings about a whole cartridge, each with a likely cause, from the quality of its frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ctcnet.panel import Panel
from ctcnet.runtime.cartridge_atypicality import LEAST_LEUKOCYTES, CartridgeScore
from ctcnet.scan.cartridge import Note

LEAST_FOCUS_RATIO = 0.75
"""A frame is out of focus where its nuclei's focus is below this share of the cartridge's median."""
LEAST_FOCUS_PER_UM = 0.3
"""A cartridge is, where its median is below this: 0.52 to 0.58 on a real slide; 0.27 when that is blurred by 2.5 um."""
SATURATED_SHARE = 1e-3
COVERED_SHARE = 0.03
LEAST_TYPICAL_CELLS = 20
"""A frame's number of cells is judged only where the cartridge's median reaches this."""
DENSITY_FACTOR = 4.0
DRIFT_FACTOR = 1.5
LEAST_FRAMES = 6
"""Drift is looked for in this many frames or more: medians of the first and the last third are compared."""
KNOWN_CORRELATION, LOST_CORRELATION = 0.4, 0.15
"""A channel that correlates this well in the median frame does not belong to a frame where it correlates this badly."""
LISTED_FRAMES = 8
DRIFT_ROLES = ("nucleus", "leukocyte")
"""Roles that nearly every cell shows, so that a change is the stain's and not the cells'."""


def cartridge_warnings(frames: Sequence[dict[str, Any]], panel: Panel) -> list[Note]:
    """Warnings about a cartridge; one note for each cause, which names the frames.

    Args:
        frames: from `frame_quality`, in any order; of one cartridge. Those for which detection
            says `too_crowded` are named.
        panel: its channels.

    Returns:
        Notes with the flags 'no_events', 'unregistered', 'out_of_focus', 'saturated', 'covered', 'too_crowded',
        'empty_frames', 'density' and 'drift', as far as they apply. A note about a single frame carries its number.
    """
    ordered = sorted(frames, key=lambda frame: frame["frame"])
    if not ordered:
        return []
    if not any(frame["cells"] or frame["objects"] for frame in ordered):
        message = (
            f"no event in any of {len(ordered)} frames: the cartridge is empty, the nuclear stain failed, or channels "
            "are named wrongly"
        )
        return [Note("no_events", message), *_saturated(ordered, panel), *_covered(ordered), *_too_crowded(ordered)]
    return [
        *_unregistered(ordered, panel),
        *_out_of_focus(ordered, panel),
        *_saturated(ordered, panel),
        *_covered(ordered),
        *_too_crowded(ordered),
        *_densities(ordered),
        *_drifts(ordered, panel),
    ]


def atypical_cartridge(score: CartridgeScore | None, panel: Panel) -> list[Note]:
    """A warning with the flag 'atypical_cartridge' where the cells are not those of cartridges that the model knows.

    Args:
        score: None or NaN where it is not known.
        panel: the cartridge's channels.
    """
    if score is None or not score.score > 1:
        return []
    which = "cells called leukocyte" if score.of_leukocytes else "cells of all classes"
    few = "" if score.of_leukocytes else f" (fewer than {LEAST_LEUKOCYTES} of the sample were called leukocyte)"
    stained = ", ".join(f"{channel.marker} ({channel.role})" for channel in panel.network_panel().channels)
    message = (
        f"this cartridge is not like those that the model knows: {score.events} {which}{few} score {score.score:.1f}, "
        f"and above 1 is atypical; probably channels are swapped or missing (read as {stained}), the pixel size is "
        "wrong, a stain failed, or the sample is of another kind; look at the gallery before you trust any class or "
        "count"
    )
    return [Note("atypical_cartridge", message)]


def _note(flag: str, frames: Sequence[dict[str, Any]], text: str) -> Note:
    """A note that names its frames: '`text` in frames 1, 2 and 3'; `text` may hold a place {frames} for them."""
    numbers = [frame["frame"] for frame in frames]
    listed = ", ".join(map(str, numbers[:LISTED_FRAMES]))
    more = f" and {len(numbers) - LISTED_FRAMES} more" if len(numbers) > LISTED_FRAMES else ""
    named = f"{'frame' if len(numbers) == 1 else 'frames'} {listed}{more}"
    return Note(flag, text.format(frames=named), numbers[0] if len(numbers) == 1 else None)


def _values(frames: Sequence[dict[str, Any]], get: Callable[[dict[str, Any]], float | None]) -> np.ndarray:
    """One number per frame, NaN where nothing can be said."""
    return np.array([np.nan if (value := get(frame)) is None else value for frame in frames], dtype=np.float64)


def _channel(frames: Sequence[dict[str, Any]], marker: str, key: str) -> np.ndarray:
    return _values(frames, lambda frame: frame["channels"][marker][key])


def _chosen(frames: Sequence[dict[str, Any]], which: np.ndarray) -> list[dict[str, Any]]:
    return [frame for frame, chosen in zip(frames, which, strict=True) if chosen]


def _unregistered(frames: Sequence[dict[str, Any]], panel: Panel) -> list[Note]:
    notes = []
    for marker in panel.markers:
        verdicts = np.array([frame["channels"][marker]["verdict"] for frame in frames])
        correlation = _channel(frames, marker, "correlation_after")
        cells = _values(frames, lambda frame: frame["cells"])
        known = correlation[verdicts != "no_shift_fits"]
        known = known[np.isfinite(known)]
        lost = np.zeros(len(frames), dtype=bool)
        if len(known) and np.median(known) >= KNOWN_CORRELATION:
            lost = (correlation < LOST_CORRELATION) & (cells >= LEAST_TYPICAL_CELLS)
        wrong = _chosen(frames, (verdicts == "no_shift_fits") | lost)
        if wrong:
            text = (
                f"{marker} does not belong to the other channels in {{frames}}: no shift makes them agree; the "
                "stage probably moved between exposures, or a file of another position was mixed in; cells there "
                "cannot be trusted"
            )
            notes.append(_note("unregistered", wrong, text))
    return notes


def _out_of_focus(frames: Sequence[dict[str, Any]], panel: Panel) -> list[Note]:
    if "nucleus" not in panel.roles:
        return []
    marker = panel.markers[panel.roles.index("nucleus")]
    focus = _channel(frames, marker, "focus")
    if not np.isfinite(focus).any():
        return []
    typical = float(np.nanmedian(focus))
    if typical < LEAST_FOCUS_PER_UM:
        message = (
            f"the cartridge is out of focus: the focus of {marker} is {typical:.2f} per um in the median frame (at "
            f"least {LEAST_FOCUS_PER_UM:g} expected); the focal plane is probably off, or the pixel size is wrong"
        )
        return [Note("out_of_focus", message)]
    blurred = _chosen(frames, focus < LEAST_FOCUS_RATIO * typical)
    text = (
        f"{{frames}} out of focus: {marker} is below {LEAST_FOCUS_RATIO:.0%} of the cartridge's median of "
        f"{typical:.2f} per um; the cartridge is probably tilted, or focusing failed there"
    )
    return [_note("out_of_focus", blurred, text)] if blurred else []


def _saturated(frames: Sequence[dict[str, Any]], panel: Panel) -> list[Note]:
    notes = []
    for marker in panel.markers:
        share = _channel(frames, marker, "saturated_share")
        full = _chosen(frames, share > SATURATED_SHARE)
        if full:
            text = (
                f"{marker} reaches full scale in up to {np.nanmax(share):.1%} of the pixels of {{frames}}; the "
                "exposure is probably too long, and intensities there are too low"
            )
            notes.append(_note("saturated", full, text))
    return notes


def _covered(frames: Sequence[dict[str, Any]]) -> list[Note]:
    share = _values(frames, lambda frame: frame["covered_share"])
    covered = _chosen(frames, share > COVERED_SHARE)
    text = (
        f"something large lies over up to {share.max():.0%} of {{frames}}, probably a bubble, a fibre, the cartridge's "
        "edge or stray light; cells under it are missed"
    )
    return [_note("covered", covered, text)] if covered else []


def _too_crowded(frames: Sequence[dict[str, Any]]) -> list[Note]:
    crowded = [frame for frame in frames if frame.get("too_crowded")]
    text = (
        "nuclei lie too close together to be told apart in {frames}: counts there are too low; the sample was probably "
        "too concentrated, or something bright lies over the whole frame"
    )
    return [_note("too_crowded", crowded, text)] if crowded else []


def _densities(frames: Sequence[dict[str, Any]]) -> list[Note]:
    cells = _values(frames, lambda frame: frame["cells"])
    typical = float(np.median(cells))
    if typical < LEAST_TYPICAL_CELLS:
        return []
    notes = []
    empty = _chosen(frames, cells == 0)
    if empty:
        text = (
            f"no cell in {{frames}}, where the median frame has {typical:.0f}: probably a bubble, lost focus, a failed "
            "exposure or the cartridge's rim"
        )
        notes.append(_note("empty_frames", empty, text))
    crowded = _chosen(frames, cells > DENSITY_FACTOR * typical)
    if crowded:
        text = (
            f"more than {DENSITY_FACTOR:g} times as many cells in {{frames}} as in the median frame ({typical:.0f}): "
            "cells are crowded there, or bright dirt is taken for cells"
        )
        notes.append(_note("density", crowded, text))
    sparse = _chosen(frames, (cells > 0) & (cells < typical / DENSITY_FACTOR))
    if sparse:
        text = (
            f"less than 1/{DENSITY_FACTOR:g} of the median frame's cells ({typical:.0f}) in {{frames}}: probably a "
            "bubble, lost focus or an uneven layer of cells"
        )
        notes.append(_note("density", sparse, text))
    return notes


def _drifts(frames: Sequence[dict[str, Any]], panel: Panel) -> list[Note]:
    notes = []
    for channel in panel.channels:
        level = _channel(frames, channel.marker, "cell_level")
        level = level[np.isfinite(level)]
        if channel.role not in DRIFT_ROLES or len(level) < LEAST_FRAMES:
            continue
        third = len(level) // 3
        first, last = float(np.median(level[:third])), float(np.median(level[-third:]))
        if first <= 0 or last <= 0 or 1 / DRIFT_FACTOR < last / first < DRIFT_FACTOR:
            continue
        message = (
            f"{channel.marker} of the cells changes along the cartridge, from {first:.0f} counts in the first third of "
            f"its frames to {last:.0f} in the last: the stain is probably uneven, the lamp unsteady or the dye bleached"
        )
        notes.append(Note("drift", message))
    return notes
