"""Pictures that are no cells of the kind a model knows, at the levels of typical crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

LETTERS = "ABCDEFGHKLMNPRSTUVWXYZabcdefghkmnoprstuvz0123456789 "
GIANT_UM = (28.0, 34.0)
"""Diameter of a nucleated cell larger than any that a model is taught, a megakaryocyte for instance."""


def _with_noise(background: np.ndarray, side_px: int, rng: np.random.Generator) -> np.ndarray:
    mean = np.broadcast_to(background[:, :, None, None], (*background.shape, side_px, side_px))
    return mean + rng.standard_normal(mean.shape) * np.sqrt(np.maximum(mean, 1) / 2 + 9)


def _amplitude(scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As bright as stains are: one to thirty times the leukocytes' level, (N, C, 1, 1)."""
    return (scale * np.exp(rng.uniform(0, np.log(30), (len(scale), 1))))[:, :, None, None]


def blank(crops: np.ndarray, background: np.ndarray, scale: np.ndarray, full: int, rng: np.random.Generator):
    """Background and the noise of each crop itself."""
    steps = np.diff(crops.astype(np.float32), axis=-1) / np.sqrt(2)
    deviation = 1.4826 * np.median(np.abs(steps), axis=(2, 3), keepdims=True) + 0.3
    return background[:, :, None, None] + rng.standard_normal(crops.shape) * deviation


def _letters(side_px: int, rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("L", (side_px, side_px), 0)
    size, y = int(rng.integers(9, 28)), int(rng.integers(-4, 4))
    while y < side_px:
        words = "".join(rng.choice(list(LETTERS), 14))
        place = (int(rng.integers(-6, 6)), y)
        ImageDraw.Draw(picture).text(place, words, fill=255, font=ImageFont.load_default(size=size))
        y += int(size * 1.2)
    mask = np.asarray(picture) / 255.0
    return 1 - mask if rng.random() < 0.5 else mask


def text(crops: np.ndarray, background: np.ndarray, scale: np.ndarray, full: int, rng: np.random.Generator):
    """Letters in every channel, light on dark or dark on light."""
    masks = np.stack([_letters(crops.shape[-1], rng) for _ in crops])[:, None]
    return _with_noise(background, crops.shape[-1], rng) + _amplitude(scale, rng) * masks


def white_noise(crops: np.ndarray, background: np.ndarray, scale: np.ndarray, full: int, rng: np.random.Generator):
    """Every pixel drawn by itself, half of the pictures over the whole range and half at the brightness of stain."""
    uniform = rng.uniform(0, full, crops.shape)
    normal = background[:, :, None, None] + np.abs(rng.standard_normal(crops.shape)) * _amplitude(scale, rng)
    return np.where(rng.random((len(crops), 1, 1, 1)) < 0.5, uniform, normal)


def bright_field(crops: np.ndarray, background: np.ndarray, scale: np.ndarray, full: int, rng: np.random.Generator):
    """Even light with a cell's dark rim and bright halo, in every channel."""
    side = crops.shape[-1]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    pictures = np.empty((len(crops), side, side))
    for row in range(len(crops)):
        shift, edge, width = rng.uniform(-5, 5, 2), rng.uniform(5, 14), rng.uniform(1.0, 2.5)
        radius = np.hypot(x - shift[0], y - shift[1])
        rim = rng.uniform(0.15, 0.5) * np.exp(-(((radius - edge) / width) ** 2) / 2)
        halo = rng.uniform(0.05, 0.3) * np.exp(-(((radius - edge - 2 * width) / width) ** 2) / 2)
        grain = gaussian_filter(rng.standard_normal((side, side)), 1.2) * rng.uniform(0.1, 0.4) * (radius < edge)
        pictures[row] = 1 - rim + halo + grain + rng.standard_normal((side, side)) * 0.01
    light = full * rng.uniform(0.2, 0.8, (len(crops), 1, 1, 1)) * rng.uniform(0.9, 1.1, (*crops.shape[:2], 1, 1))
    return pictures[:, None] * light


def saturated(crops: np.ndarray, background: np.ndarray, scale: np.ndarray, full: int, rng: np.random.Generator):
    """The crop's own light times so much that a tenth to six tenths of two or more channels are full."""
    out = crops.astype(np.float64)
    for row in range(len(out)):
        channels = out.shape[1]
        for channel in rng.permutation(channels)[: rng.integers(min(2, channels), channels + 1)]:
            above = out[row, channel] - background[row, channel]
            bright = np.quantile(gaussian_filter(above, 0.5), 1 - rng.uniform(0.1, 0.6))
            out[row, channel] = above * full / max(bright, 1.0) + background[row, channel]
    return out


def other_cell(crops: np.ndarray, background: np.ndarray, scale: np.ndarray, full: int, rng: np.random.Generator):
    """One cell of `GIANT_UM`, stained as typical cells are; the nucleus is the first channel.

    Crops are 0.6 um per px.
    """
    side = crops.shape[-1]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    out = _with_noise(background, side, rng)
    for row, channels in enumerate(scale):
        radius_px = rng.uniform(*GIANT_UM) / 2 / 0.6
        nucleus_px = radius_px * rng.uniform(0.6, 0.75)
        place, off = rng.uniform(-3, 3, 2), rng.uniform(-4, 4, 2)
        cell = gaussian_filter((np.hypot(x - place[0], y - place[1]) < radius_px).astype(float), 1)
        inner = np.hypot(x - place[0] - off[0], y - place[1] - off[1]) < nucleus_px
        nucleus = gaussian_filter(inner.astype(float), 1)
        texture = 1 + gaussian_filter(rng.standard_normal((len(channels), side, side)), (0, 2, 2)) * 1.5
        level = channels * np.exp(rng.uniform(np.log(0.3), np.log(3), len(channels)))
        out[row] += level[:, None, None] * texture * np.stack([nucleus, *[cell] * (len(channels) - 1)])
    return out


UnusualPicture = Callable[[np.ndarray, np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]
KINDS: Mapping[str, UnusualPicture] = {
    "blank": blank,
    "text": text,
    "noise": white_noise,
    "bright field": bright_field,
    "another cell type (28 to 34 um)": other_cell,
    "saturated": saturated,
}
"""Makers of counts (N, C, S, S) float from typical crops (N, C, S, S), levels (N, C), full scale and random numbers."""
