"""The peer without a network: gradient boosting on intensity, gradient, total-stain and nuclear-shape features."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops
from sklearn.ensemble import HistGradientBoostingClassifier

_SHAPE_NAMES = ("area", "eccentricity", "solidity", "extent", "perimeter", "major_axis_length", "minor_axis_length")


def _channel_features(image: np.ndarray) -> list[float]:
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    above = image - np.median(rim)
    gradient = np.hypot(ndimage.sobel(image, 0), ndimage.sobel(image, 1))
    quantiles = np.percentile(image, [1, 10, 25, 50, 75, 90, 99])
    return [
        *quantiles,
        float(image.mean()),
        float(image.std()),
        float(image.max()),
        float(above.sum()),
        float(np.clip(above, 0, None).sum()),
        float(gradient.mean()),
        float(gradient.std()),
        float(gradient.max()),
    ]


def _nucleus_features(nucleus: np.ndarray, channels: np.ndarray) -> list[float]:
    smooth = ndimage.gaussian_filter(nucleus, 1.0)
    mask = smooth > (threshold_otsu(smooth) if np.ptp(smooth) > 0 else smooth.max())
    objects = sorted(regionprops(label(mask)), key=lambda region: -region.area)
    areas = [region.area for region in objects[:2]] + [0, 0]
    if not objects:
        return [0.0] * (4 + len(_SHAPE_NAMES) + 7 + 2 * len(channels))
    shape = [float(getattr(objects[0], name)) for name in _SHAPE_NAMES]
    inside = [float(channel[mask].sum()) for channel in channels] + [float(channel[mask].std()) for channel in channels]
    hu = [float(value) for value in objects[0].moments_hu]
    return [float(len(objects)), float(areas[0]), float(areas[1]), float(mask.sum()), *shape, *hu, *inside]


def crop_features(crops: np.ndarray, nucleus_channel: int) -> np.ndarray:
    """Features of crops in counts.

    Args:
        crops: (N, C, H, W), any real dtype.
        nucleus_channel: index of the nuclear stain, whose Otsu mask gives the shape features.

    Returns:
        float64 (N, F).
    """
    rows = []
    for crop in crops.astype(np.float64):
        channels = [feature for channel in crop for feature in _channel_features(channel)]
        rows.append(channels + _nucleus_features(crop[nucleus_channel], crop))
    return np.array(rows)


def boosting(seed: int) -> HistGradientBoostingClassifier:
    """The classifier with the settings used in every table."""
    return HistGradientBoostingClassifier(
        max_iter=300, learning_rate=0.06, l2_regularization=1.0, class_weight="balanced", random_state=seed
    )
