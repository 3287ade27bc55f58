"""The augmentation chain with albumentations, crop by crop: the only module that imports it."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no look for newer versions over the network

import albumentations as A
import cv2
import numpy as np

from ctcnet.data.augmentation import Augmentation

cv2.setNumThreads(0)


class _ChannelLevels(A.ImageOnlyTransform):
    """Gain and offset per channel, then shot noise. Image float32 (H, W, C) in [0, 1]."""

    def __init__(self, settings: Augmentation) -> None:
        super().__init__(p=1.0)
        self.settings = settings
        self.background: np.ndarray = np.zeros(1, np.float32)
        self.scale: np.ndarray = np.ones(1, np.float32)
        self.span = 1.0

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        own, draw = self.settings, self.random_generator
        gain = np.exp(draw.uniform(-own.gain, own.gain, img.shape[2]))
        offset = draw.uniform(-own.offset, own.offset, img.shape[2]) * self.scale
        out = (img - self.background) * gain + self.background + offset
        if own.shot_noise > 0:
            per_electron = draw.uniform(0, own.shot_noise) / self.span
            noise = draw.standard_normal(img.shape)
            out = out + noise * np.sqrt(np.clip(out - self.background, 0, None) * per_electron)
        return out.astype(np.float32)


class AlbumentationsChain:
    """Augments one crop after the other on the CPU.

    Counts are mapped to the [0, 1] that albumentations takes and back. Its own GaussNoise and ShotNoise fail on camera
    counts, so gain, offset and shot noise are a transform of this module.

    Args:
        settings: strengths of each kind; `channel_drop` is the loader's business.
        full_scale: largest count of the camera.
    """

    def __init__(self, settings: Augmentation, full_scale: float) -> None:
        self.full_scale = float(full_scale)
        self._levels = _ChannelLevels(settings)
        transforms: list[Any] = [A.D4(p=1.0)] if settings.dihedral else []
        if settings.affine > 0:
            shift = (-round(settings.shift_px), round(settings.shift_px))
            transforms.append(
                A.Affine(
                    scale=(1 - settings.zoom, 1 + settings.zoom),
                    translate_px={"x": shift, "y": shift},
                    rotate=(-settings.rotate_deg, settings.rotate_deg),
                    border_mode=cv2.BORDER_REPLICATE,
                    p=settings.affine,
                )
            )
        if settings.defocus > 0 and settings.defocus_px > 0:
            blur = A.GaussianBlur(blur_limit=0, sigma_limit=(0.05, max(settings.defocus_px, 0.05)), p=settings.defocus)
            transforms.append(blur)
        self._chain = A.Compose([*transforms, self._levels])

    def __call__(self, counts: np.ndarray, background: np.ndarray, scale: np.ndarray, seed: int) -> np.ndarray:
        """Augment one crop.

        Args:
            counts: (C, S, S), any real dtype, at most full scale.
            background, scale: (C,) float32, finite, in counts.
            seed: seed of the sample, 0 or greater; the result is a pure function of it and the crop.

        Returns:
            (C, S, S) float32, within 0 (or the crop's own least count, if that is negative) and full scale.
        """
        image = counts.astype(np.float32)
        lowest = min(0.0, float(image.min()))
        span = self.full_scale - lowest
        self._levels.background = (background - lowest) / span
        self._levels.scale = scale / span
        self._levels.span = span
        self._chain.set_random_seed(int(seed) % (1 << 32))
        unit = np.clip((image - lowest) / span, 0, 1).transpose(1, 2, 0)
        result = self._chain(image=np.ascontiguousarray(unit))["image"]
        result = result.reshape(image.shape[1], image.shape[2], -1).transpose(2, 0, 1)
        return np.clip(result, 0, 1).astype(np.float32) * np.float32(span) + np.float32(lowest)
