"""What augmentation does to training crops: settings shared by the two ways of doing it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from ctcnet.errors import SettingError
from ctcnet.seeded_random import uniform

_DROP_STREAM = 7


@dataclass(frozen=True)
class Augmentation:
    """Strength of each kind of augmentation; 0 leaves a kind out. Validation data are never augmented.

    Attributes:
        backend: 'device' (batched, on the device of the network), 'albumentations' (crop by crop in the loader's
            workers) or 'none'.
        dihedral: one of the eight flips and quarter turns.
        affine: probability of a small affine map with the next three settings.
        rotate_deg: largest rotation in degrees.
        shift_px: largest shift in pixels, along each axis.
        zoom: largest change of size, as a fraction.
        gain: per channel, signal above background is multiplied by exp(u), u uniform in -gain..gain.
        offset: per channel, u times the channel's scale is added, u uniform in -offset..offset.
        defocus: probability of a Gaussian blur.
        defocus_px: largest sigma of that blur in pixels.
        shot_noise: largest counts per photo-electron g, drawn uniformly from 0; noise has the variance g times signal.
        channel_drop: probability that a channel counts as absent; one channel is always kept.
    """

    backend: Literal["device", "albumentations", "none"] = "device"
    dihedral: bool = True
    affine: float = 0.0
    rotate_deg: float = 0.0
    shift_px: float = 0.0
    zoom: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    defocus: float = 0.0
    defocus_px: float = 0.0
    shot_noise: float = 0.0
    channel_drop: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("backend", "dihedral"):
                continue
            most = 1.0 if item.name in ("affine", "defocus", "channel_drop", "zoom") else float("inf")
            if not 0 <= value <= most:
                raise SettingError(
                    f"augmentation setting '{item.name}' is out of range",
                    expected="0 or more" if most > 1 else "0 to 1",
                    found=str(value),
                )


def channel_presence(sample_seed: Tensor, num_channels: int, channel_drop: float) -> Tensor:
    """Channels kept for each sample: a pure function of its seed.

    Args:
        sample_seed: (N,) int64.
        num_channels: C.
        channel_drop: probability of dropping each channel. The channel drawn highest is kept in any case.

    Returns:
        (N, C) bool.
    """
    draws = uniform(sample_seed, _DROP_STREAM, num_channels)
    return (draws >= channel_drop) | (draws == draws.amax(dim=1, keepdim=True))


def all_present(count: int, num_channels: int) -> Tensor:
    """Mask (N, C) bool that keeps every channel."""
    return torch.ones(count, num_channels, dtype=torch.bool)
