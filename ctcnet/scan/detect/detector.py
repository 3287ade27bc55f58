"""Finding events in frames: cells by their nuclei, objects without a nucleus, clusters of touching cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ctcnet.errors import SettingError
from ctcnet.scan.detect.assembly import assemble_events
from ctcnet.scan.detect.background import measure_background
from ctcnet.scan.detect.cells import find_cells
from ctcnet.scan.detect.detected_events import DetectedEvents
from ctcnet.scan.detect.objects import find_objects
from ctcnet.scan.detect.settings_check import check_detection
from ctcnet.scan.detect.specks import count_specks
from ctcnet.scan.detect.working_image import choose_factor, reduce_image
from ctcnet.scan.platform import DetectionSettings

OBJECT_ROLES: tuple[str, ...] = ("epithelial", "mesenchymal", "platelet")
"""Roles in which objects without a nucleus are looked for."""

CELL_ROLES: tuple[str, ...] = ("epithelial", "mesenchymal", "leukocyte")
"""Roles whose stain shows how large a cell is."""


class EventDetector:
    """Detector for the frames of one cartridge.

    Args:
        settings: sizes in um and limits in multiples of the noise.
        roles: role of each channel.
        pixel_size_um: micrometres per pixel.
        device: device to work on.

    Raises:
        SettingError: settings, roles or pixel size cannot be used.
    """

    def __init__(
        self,
        settings: DetectionSettings,
        roles: Sequence[str],
        pixel_size_um: float,
        device: str | torch.device = "cpu",
    ) -> None:
        check_detection(settings, roles, pixel_size_um)
        self.settings = settings
        self.roles = tuple(roles)
        self.pixel_size_um = float(pixel_size_um)
        self.device = torch.device(device)
        self.factor = choose_factor(pixel_size_um, settings.downsample)
        self.nucleus = self.roles.index("nucleus")
        self.object_channels = [index for index, role in enumerate(self.roles) if role in OBJECT_ROLES]
        self.cell_channels = [index for index, role in enumerate(self.roles) if role in CELL_ROLES]

    @torch.inference_mode()
    def detect(self, counts: Tensor, valid: Tensor | None = None) -> list[DetectedEvents]:
        """Find the events of each image.

        Args:
            counts: (B, C, H, W) float32 camera counts, channels as in `roles`; at least 16 x 16 pixels.
            valid: (B, H, W) bool, pixels that show something; None is all. No event stands on another pixel.

        Returns:
            One per image; an image's events do not depend on the others of the batch.

        Raises:
            SettingError: shapes or types are not these, or counts are not finite.
        """
        self._check(counts, valid)
        counts = counts.to(self.device)
        valid = None if valid is None or bool(valid.view(torch.uint8).min()) else valid.to(self.device)
        settings = self.settings
        background = measure_background(counts, valid, self.pixel_size_um, settings.noise_floor_counts)
        channels = sorted({self.nucleus, *self.object_channels, *self.cell_channels})
        image = reduce_image(counts, valid, channels, background, self.factor, self.pixel_size_um)
        if not bool(torch.isfinite(image.pixels.sum())):
            raise SettingError("counts are not finite", where="image", expected="numbers", found="NaN or infinity")
        position = {channel: place for place, channel in enumerate(channels)}
        cells = find_cells(image, background, settings, self.nucleus, self.cell_channels, position)
        objects = find_objects(image, background, settings, self.object_channels, self.cell_channels, position, cells)
        specks = count_specks(image, background, settings, self.object_channels, position, cells, objects)
        shape = counts.shape[-2:]
        return assemble_events(image, background, settings, self.nucleus, valid, shape, cells, objects, specks)

    def _check(self, counts: Tensor, valid: Tensor | None) -> None:
        expected = f"(B, {len(self.roles)}, H, W) float32, H and W at least 16"
        fits = counts.ndim == 4 and counts.shape[1] == len(self.roles) and min(counts.shape[-2:]) >= 16
        if not fits or counts.dtype != torch.float32:
            found = f"{tuple(counts.shape)} {counts.dtype}"
            raise SettingError("image has a wrong shape or type", where="image", expected=expected, found=found)
        shape = (counts.shape[0], *counts.shape[-2:])
        if valid is not None and (tuple(valid.shape) != shape or valid.dtype != torch.bool):
            found = f"{tuple(valid.shape)} {valid.dtype}"
            raise SettingError("mask has a wrong shape or type", where="valid", expected=f"{shape} bool", found=found)
