"""Pictures of events for the report: every channel in grey, and a merge in colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ctcnet.panel import Panel

MOST_EVENTS = 500
"""Events in a gallery."""

MOST_BYTES = 17_000_000
"""Bytes of all pictures of a gallery, so that the report stays below 20 MB."""

_WHITE: Mapping[str, float] = {"nucleus": 2.0, "leukocyte": 2.0}
_WHITE_OTHERS = 8.0
"""Scales above background that are drawn white. The scale of the nucleus and of a leukocyte marker is the leukocytes'
median; that of other markers is the level at which leukocytes end, which a CTC exceeds many times."""

_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "nucleus": (70, 110, 255),
    "epithelial": (255, 150, 0),
    "mesenchymal": (255, 70, 90),
    "leukocyte": (0, 205, 150),
    "neutrophil": (235, 90, 235),
    "platelet": (255, 255, 130),
    "target": (170, 170, 170),
}
"""Colours of the merge by role; a channel of another role is not in it."""

_SIDE_PX = 72
_GREYS = 32


@dataclass(frozen=True)
class Picture:
    """One event.

    Attributes:
        row: index in the columns of the gallery.
        channels: one data URI of a grey PNG per channel.
        merge: data URI of a colour PNG.
    """

    row: int
    channels: tuple[str, ...]
    merge: str


@dataclass(frozen=True)
class Contrast:
    """How a channel is drawn: black at `black` counts, white at `white`; `sentence` says it."""

    black: float
    white: float
    sentence: str


def gallery_rows(columns: Mapping[str, np.ndarray], ctc_classes: Sequence[str]) -> np.ndarray:
    """Rows to show, at most `MOST_EVENTS`: those called a CTC or for review first, the most probable ones first.

    Args:
        columns: label, unassigned, review, p_contains_ctc and event_id of all events, (N,) each.
        ctc_classes: classes that contain a CTC.
    """
    called = np.isin(columns["label"].astype(str), list(ctc_classes)) & ~columns["unassigned"].astype(bool)
    first = called | columns["review"].astype(bool)
    probability = np.nan_to_num(columns["p_contains_ctc"].astype(np.float64))
    return np.lexsort((columns["event_id"], -probability, ~first))[:MOST_EVENTS]


def contrasts(panel: Panel, background: np.ndarray, scale: np.ndarray, crops: np.ndarray) -> list[Contrast]:
    """How each channel is drawn, the same for all events, so that pictures compare.

    Args:
        panel: channels of the crops.
        background, scale: (C,) levels of the cartridge in counts; where one is NaN, black and white are the median
            and the 99.8th percentile of the crops shown, and the sentence says so.
        crops: (N, C, S, S) counts.
    """
    result = []
    for index, channel in enumerate(panel.channels):
        black, times = float(background[index]), _WHITE.get(channel.role, _WHITE_OTHERS)
        white = black + times * float(scale[index])
        text = (
            f"{channel.marker}: black {black:.4g}, white {white:.4g} counts (background plus {times:g} times the scale)"
        )
        if not np.isfinite(white):
            values = crops[:, index] if len(crops) else np.zeros(1)
            black, white = float(np.median(values)), float(np.percentile(values, 99.8))
            text = (
                f"{channel.marker}: black {black:.4g}, white {white:.4g} counts (median and 99.8 % of the events shown)"
            )
        result.append(Contrast(black, max(white, black + 1.0), text))
    return result


def pictures(crops: np.ndarray, panel: Panel, drawn: Sequence[Contrast]) -> list[Picture]:
    """Pictures of crops in their order, until `MOST_BYTES` are used.

    Args:
        crops: (N, C, S, S) uint16 counts, N at most `MOST_EVENTS`.
        panel: their channels.
        drawn: from `contrasts`.
    """
    black = np.array([entry.black for entry in drawn], dtype=np.float32)[:, None, None]
    white = np.array([entry.white for entry in drawn], dtype=np.float32)[:, None, None]
    colours = np.array([_COLOURS.get(role, (0, 0, 0)) for role in panel.roles], dtype=np.float32)
    result, used = [], 0
    for row, crop in enumerate(crops[:MOST_EVENTS]):
        grey = np.clip((crop.astype(np.float32) - black) / (white - black), 0, 1)
        merge = np.clip(np.einsum("chw,ck->hwk", grey, colours), 0, 255) / 255
        picture = Picture(row, tuple(_png(channel) for channel in grey), _png(merge))
        used += len(picture.merge) + sum(map(len, picture.channels))
        if used > MOST_BYTES:
            break
        result.append(picture)
    return result


def merge_legend(panel: Panel) -> list[tuple[str, str]]:
    """Marker and CSS colour of each channel in the merge."""
    return [(c.marker, "rgb({},{},{})".format(*_COLOURS[c.role])) for c in panel.channels if c.role in _COLOURS]


def _png(values: np.ndarray) -> str:
    """Data URI of a PNG of (H, W) or (H, W, 3) values in 0 to 1, in steps that the eye hardly sees but zip does."""
    steps = np.rint(values * (_GREYS - 1)) * (255 / (_GREYS - 1))
    picture: Any = Image.fromarray(np.rint(steps).astype(np.uint8))
    if max(picture.size) > _SIDE_PX:
        picture.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=6)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
