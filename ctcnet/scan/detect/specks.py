"""Specks: peaks too small to be events, counted and not emitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ctcnet.scan.detect.background import Background
from ctcnet.scan.detect.found import Found
from ctcnet.scan.detect.neighbourhoods import largest_nearby, opened
from ctcnet.scan.detect.working_image import WorkingImage
from ctcnet.scan.platform import DetectionSettings

_CLEAR_UM = 7.0
_CHUNK = 8192


def count_specks(
    image: WorkingImage,
    background: Background,
    settings: DetectionSettings,
    channels: list[int],
    position: Mapping[int, int],
    cells: Found,
    objects: Found,
) -> Tensor:
    """Specks per mm2 in the area free of events, (B, C) float32; see `DetectedEvents.specks_per_mm2`."""
    density = torch.zeros_like(background.level)
    free = _free_area(image, cells, objects)
    area_mm2 = free.flatten(1).sum(1) * (image.pixel_um / 1000) ** 2
    for channel in channels:
        plane = image.pixels[:, position[channel]]
        height = plane - opened(plane)
        limit = settings.object_snr * background.noise[:, channel, None, None]
        specks = (height >= largest_nearby(height)) & (height > limit) & free
        density[:, channel] = specks.flatten(1).sum(1) / area_mm2
    return density


def _free_area(image: WorkingImage, cells: Found, objects: Found) -> Tensor:
    """(B, h, w) bool, pixels farther than 7 um (in y or x) from every event."""
    batch, _, height, width = image.pixels.shape
    taken = np.zeros((batch, height, width), bool)
    radius = max(1, round(_CLEAR_UM / image.pixel_um))
    around = np.arange(-radius, radius + 1)
    for events in (cells, objects):
        for start in range(0, len(events), _CHUNK):
            part = events.take(np.arange(start, min(start + _CHUNK, len(events))))
            row = (part.y.round().astype(np.int64)[:, None, None] + around[:, None]).clip(0, height - 1)
            column = (part.x.round().astype(np.int64)[:, None, None] + around).clip(0, width - 1)
            taken[part.image[:, None, None], row, column] = True
    free = torch.as_tensor(~taken, device=image.pixels.device)
    return free if image.valid is None else free & image.valid
