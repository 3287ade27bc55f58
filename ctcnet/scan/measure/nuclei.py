"""Number of nuclei in an event: maxima of the nuclear stain that are far enough apart with a dip between them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ctcnet.scan.measure.patches import exceeds, pixel_count, smooth, weight, widest

SMOOTHING_UM = 0.8
"""Standard deviation of the smoothing before maxima are looked for."""

LEAST_DISTANCE_UM = 5.0
"""Nuclei are farther apart than this: the smallest nuclei measured (5 %) are 5.2 um wide, a granulocyte's lobes lie
3 to 4 um apart."""

LEAST_HEIGHT = 0.5
"""A second nucleus reaches at least this share of the event's brightest one."""

DEEPEST_SADDLE = 0.75
"""Two maxima are two nuclei where the stain between them falls below this share of the lower one."""

LINE_POINTS = 9


def count_nuclei(nucleus: Tensor, mask: Tensor, pixel_size_um: float) -> np.ndarray:
    """Count the nuclei of each event.

    Args:
        nucleus: (N, h, w) float32, nuclear stain above its background.
        mask: (N, h, w) bool, pixels of the event's nuclei.

    Returns:
        (N,) int16; 0 where the mask is empty.
    """
    for _ in range(max(1, round(2 * (SMOOTHING_UM / pixel_size_um) ** 2))):
        nucleus = smooth(nucleus)
    inside = nucleus * weight(mask)
    highest = inside.amax((1, 2), keepdim=True)
    peaks = exceeds(inside, LEAST_HEIGHT * highest)
    peaks &= ~exceeds(widest(inside, max(1, round(1.5 / pixel_size_um))), inside)
    counts = (pixel_count(mask) > 0).cpu().numpy().astype(np.int16)
    several = (pixel_count(peaks) > 1).nonzero().squeeze(1)
    if len(several) == 0:
        return counts
    place = peaks[several].nonzero().cpu().numpy()
    values = nucleus[several].cpu().numpy()
    for which, event in enumerate(several.cpu().numpy()):
        points = place[place[:, 0] == which, 1:]
        counts[event] = _count_apart(values[which], points, LEAST_DISTANCE_UM / pixel_size_um)
    return counts


def _count_apart(values: np.ndarray, points: np.ndarray, least_px: float) -> int:
    """Maxima, the highest first, that are apart from every higher one that was kept."""
    order = np.lexsort((points[:, 1], points[:, 0], -values[points[:, 0], points[:, 1]]))
    kept: list[np.ndarray] = []
    for point in points[order]:
        if all(_apart(values, point, other, least_px) for other in kept):
            kept.append(point)
    return len(kept)


def _apart(values: np.ndarray, point: np.ndarray, other: np.ndarray, least_px: float) -> bool:
    if np.hypot(*(point - other)) < least_px:
        return False
    share = np.linspace(0, 1, LINE_POINTS)[:, None]
    line = np.rint(point * (1 - share) + other * share).astype(int)
    lower = min(values[tuple(point)], values[tuple(other)])
    return bool(values[line[:, 0], line[:, 1]].min() < DEEPEST_SADDLE * lower)
