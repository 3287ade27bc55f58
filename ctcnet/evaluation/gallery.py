"""The worst mistakes of each class, channel by channel, as small grey pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ctcnet.evaluation.scored_crops import ScoredCrops
from ctcnet.normalization import normalize, per_crop_levels, scale_floor
from ctcnet.panel import Panel


@dataclass(frozen=True)
class Mistake:
    """One crop that was called another class than it is.

    Attributes:
        path, group: as in the manifest.
        called: class that was called; `probability` is that class's, `true_probability` that of the true class.
        unassigned: whether the model would not name a class.
        channels: one data URI of an 8-bit grey PNG per channel.
    """

    path: str
    group: str
    called: str
    probability: float
    true_probability: float
    unassigned: bool
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Mistakes of one true class, the worst first; `total` counts those not shown too."""

    label: str
    total: int
    mistakes: tuple[Mistake, ...]


def worst_mistakes(scored: ScoredCrops, per_class: int) -> dict[int, np.ndarray]:
    """Rows of each class's mistakes, those with the least probability for the truth first, at most `per_class`."""
    wrong = scored.called != scored.truth
    result = {}
    for index in range(len(scored.schema.classes)):
        rows = np.flatnonzero(wrong & (scored.truth == index))
        result[index] = rows[np.argsort(scored.probabilities[rows, index], kind="stable")][:per_class]
    return result


def make_galleries(
    scored: ScoredCrops,
    read: Callable[[np.ndarray], np.ndarray],
    background: np.ndarray,
    scale: np.ndarray,
    panel: Panel,
    *,
    per_class: int = 6,
) -> tuple[list[Gallery], list[str]]:
    """Pictures of the worst mistakes of each class.

    Each channel is drawn as counts above background in units of its scale, black at 0 and white at one value for the
    whole report (the 99.8th percentile of the crops shown, 1 at least), so that pictures compare.

    Args:
        scored: what the model said.
        read: rows of `scored` -> crops (n, C, S, S) in counts.
        background, scale: (N, C) or (C,), counts; NaN entries are replaced by the crop's own levels.
        panel: channels of the crops.
        per_class: pictures per true class at most.

    Returns:
        One gallery per class that has mistakes; one sentence per channel that says what white stands for.
    """
    chosen = worst_mistakes(scored, per_class)
    rows = np.concatenate([*chosen.values(), np.zeros(0, dtype=np.int64)]).astype(np.int64)
    if not len(rows):
        return [], []
    counts = read(rows).astype(np.float32)
    own_background, own_scale = per_crop_levels(counts, scale_floor(panel.full_scale), panel.rgb_order is not None)
    shape = (len(scored), len(panel.channels))
    stated_background, stated_scale = (np.broadcast_to(level, shape)[rows] for level in (background, scale))
    known = np.isfinite(stated_background) & np.isfinite(stated_scale)
    values = normalize(
        counts, np.where(known, stated_background, own_background), np.where(known, stated_scale, own_scale)
    )
    white = np.maximum(np.percentile(values, 99.8, axis=(0, 2, 3)), 1.0)
    grey = np.clip(values / white[None, :, None, None], 0, 1)
    pictures = {int(row): tuple(_grey_png(channel) for channel in crop) for row, crop in zip(rows, grey, strict=True)}
    wrong = scored.called != scored.truth
    galleries = [
        Gallery(
            scored.schema.classes[index],
            int((wrong & (scored.truth == index)).sum()),
            tuple(_mistake(scored, int(row), pictures[int(row)]) for row in members),
        )
        for index, members in chosen.items()
        if len(members)
    ]
    return galleries, _scale_notes(panel.markers, white)


def _scale_notes(markers: Sequence[str], white: np.ndarray) -> list[str]:
    return [f"{marker}: {value:.2g}" for marker, value in zip(markers, white, strict=True)]


def _mistake(scored: ScoredCrops, row: int, channels: tuple[str, ...]) -> Mistake:
    called, truth = int(scored.called[row]), int(scored.truth[row])
    return Mistake(
        path=str(scored.path[row]),
        group=str(scored.group[row]),
        called=scored.schema.classes[called],
        probability=float(scored.probabilities[row, called]),
        true_probability=float(scored.probabilities[row, truth]),
        unassigned=bool(scored.unassigned[row]),
        channels=channels,
    )


def _grey_png(values: np.ndarray) -> str:
    """Data URI of an 8-bit grey PNG from an (H, W) array in 0 to 1; at most 96 px a side."""
    picture = Image.fromarray(np.rint(values * 255).astype(np.uint8))
    picture.thumbnail((96, 96))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
