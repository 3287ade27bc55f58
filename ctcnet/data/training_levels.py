"""Where the levels of the training crops come from: the mode of normalisation and the model's own constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ctcnet.errors import SettingError
from ctcnet.normalization import check_mode, fixed_levels

NormalizationChoice = Literal["auto", "cartridge", "fixed", "per_crop"]

SAMPLE_CROPS = 4096
"""Most training crops read for the constants of the mode 'fixed'."""


@dataclass(frozen=True)
class TrainingLevels:
    """Normalisation of a training run.

    Attributes:
        mode: one of `ctcnet.normalization.MODES`.
        background, scale: the model's own, float32 (C,) in counts; None in the mode 'per_crop'.
        floor: least scale in counts.
        shared_scale: in the mode 'per_crop', whether the channels of a crop share one scale.
    """

    mode: str
    background: np.ndarray | None
    scale: np.ndarray | None
    floor: float
    shared_scale: bool = False

    def of_rows(self, background: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levels to normalise rows by, given those that the manifest states.

        Args:
            background, scale: float32 (N, C), NaN where not stated.

        Returns:
            both float32 (N, C): the manifest's or else the model's own in the mode 'cartridge', the model's own in the
            mode 'fixed', and placeholders 0 and 1 in the mode 'per_crop', whose levels are computed from the pixels.
        """
        if self.background is None or self.scale is None:
            return np.zeros_like(background), np.ones_like(scale)
        own_background, own_scale = (
            np.broadcast_to(self.background, background.shape),
            np.broadcast_to(self.scale, scale.shape),
        )
        if self.mode == "fixed":
            return own_background.copy(), own_scale.copy()
        stated = np.isfinite(background).all(axis=1, keepdims=True) & np.isfinite(scale).all(axis=1, keepdims=True)
        return np.where(stated, background, own_background), np.where(stated, scale, own_scale)


def choose_mode(choice: str, has_levels: np.ndarray) -> str:
    """Mode of normalisation for training crops, `has_levels` bool (N,) saying which state theirs.

    Raises:
        SettingError: unknown mode, or the mode 'cartridge' where crops state no levels.
    """
    if choice == "auto":
        return "cartridge" if has_levels.all() else "per_crop"
    if check_mode(choice) == "cartridge" and not has_levels.all():
        raise SettingError(
            "training crops have no levels of their cartridge",
            where="normalization 'cartridge'",
            expected="background_<channel> and scale_<channel> in the manifest for each channel",
            found=f"{int((~has_levels).sum())} of {len(has_levels)} training crops without",
            fix="add the columns, or choose the mode 'fixed' or 'per_crop'",
        )
    return choice


def spread_rows(count: int, most: int = SAMPLE_CROPS) -> np.ndarray:
    """At most `most` row numbers spread evenly over `count` rows, int64."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def own_levels(
    mode: str,
    background: np.ndarray,
    scale: np.ndarray,
    sample: np.ndarray | None,
    floor: float,
    shared_scale: bool = False,
) -> TrainingLevels:
    """Make the levels of a run.

    Args:
        mode: one of `ctcnet.normalization.MODES`.
        background, scale: float32 (N, C), what the manifest states for the training crops.
        sample: (n, C, H, W) training crops, needed in the mode 'fixed' alone.
        floor: least scale in counts.
        shared_scale: whether the channels are those of display pictures, which share a scale in the mode 'per_crop'.
    """
    if mode == "per_crop":
        return TrainingLevels(mode, None, None, floor, shared_scale)
    if mode == "fixed":
        assert sample is not None
        return TrainingLevels(mode, *fixed_levels(sample, floor), floor)
    typical = np.median(background, axis=0).astype(np.float32), np.median(scale, axis=0).astype(np.float32)
    return TrainingLevels(mode, typical[0], np.maximum(typical[1], np.float32(1e-6)), floor)
