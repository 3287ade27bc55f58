"""Pictures of events for the report: every channel in grey, and a merge in colour."""

from __future__ import annotations

import base64
import struct
import zlib
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
_ZIP_LEVEL = 4
"""A twentieth more bytes than at 6, in a third of the time."""


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

    Events that are not counted (cells of a cluster that is counted as one) are left out: their cluster stands for them.

    Args:
        columns: label, unassigned, review, counted, p_contains_ctc and event_id of all events, (N,) each.
        ctc_classes: classes that contain a CTC.
    """
    called = np.isin(columns["label"], list(ctc_classes)) & ~columns["unassigned"].astype(bool)
    first = called | columns["review"].astype(bool)
    probability = np.nan_to_num(columns["p_contains_ctc"].astype(np.float64))
    order = np.lexsort((columns["event_id"], -probability, ~first))
    return order[columns["counted"].astype(bool)[order]][:MOST_EVENTS]


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
        origin = ""
        if not np.isfinite(white):
            values = crops[:, index] if len(crops) else np.zeros(1)
            black, white = float(np.median(values)), float(np.percentile(values, 99.8))
            origin = " (median and 99.8 % of the events shown)"
        white = max(white, black + 1.0)
        text = f"{channel.marker}: black {black:.0f}, white {white:.0f} counts{origin}"
        result.append(Contrast(black, white, text))
    return result


def contrast_rule() -> str:
    """What black and white stand for, as a sentence."""
    return (
        f"Black is the background; white is {_WHITE['nucleus']:g} times the leukocytes' level above it for stains of "
        f"the nucleus and of leukocytes, and {_WHITE_OTHERS:g} times the level at which leukocytes end for the others."
    )


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
    steps = np.rint(np.rint(values * (_GREYS - 1)) * (255 / (_GREYS - 1))).astype(np.uint8)
    if max(steps.shape[:2]) > _SIDE_PX:
        picture: Any = Image.fromarray(steps)
        picture.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
        steps = np.asarray(picture)
    return "data:image/png;base64," + base64.b64encode(_png_bytes(steps)).decode("ascii")


def _png_bytes(pixels: np.ndarray) -> bytes:
    """A PNG file (W3C PNG specification, third edition) of (H, W) grey or (H, W, 3) colour uint8 pixels.

    Written here because Pillow takes four times as long for a picture so small, and a gallery has thousands.
    """
    height, width = pixels.shape[:2]
    colour_type = 0 if pixels.ndim == 2 else 2
    rows = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), _ZIP_LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
