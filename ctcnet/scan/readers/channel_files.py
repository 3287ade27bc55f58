"""Frames that stand in one file for each channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctcnet.errors import FrameError
from ctcnet.scan.readers.frame_shape import FrameShape
from ctcnet.scan.readers.grey_image import read_grey


@dataclass(frozen=True)
class ChannelFiles:
    """Reads frames that stand in one file for each channel; may be used in several threads at once.

    Attributes:
        files: for each frame the files of its channels, in the order of the panel.
        shape: shape of every file.
        full_scale: largest count that the camera gives.
        restore: what turns an image's stored pixels (H, W), given with its file, into counts; None where they are
            counts already.
    """

    files: tuple[tuple[Path, ...], ...]
    shape: FrameShape
    full_scale: int
    restore: Callable[[np.ndarray, Path], np.ndarray] | None = None

    def read(self, index: int) -> np.ndarray:
        """Counts of one frame, (C, H, W), uint8 or uint16.

        Raises:
            FrameError: a file of the frame is damaged, has another shape, or holds counts above full scale.
        """
        paths = self.files[index]
        stored = np.empty((len(paths), self.shape.height_px, self.shape.width_px), self.shape.dtype)
        for channel, path in enumerate(paths):
            read_grey(path, self.shape, stored[channel])
        counts = stored
        if self.restore is not None:
            counts = np.stack([self.restore(image, path) for image, path in zip(stored, paths, strict=True)])
        if self.full_scale < np.iinfo(counts.dtype).max:
            check_full_scale(counts, self.full_scale, paths)
        return counts


def check_full_scale(counts: np.ndarray, full_scale: int, paths: tuple[Path, ...]) -> None:
    """Raise FrameError where a channel of (C, H, W) counts exceeds the camera's full scale."""
    for channel, image in enumerate(counts):
        largest = int(image.max())
        if largest > full_scale:
            raise FrameError(
                "holds counts that the camera cannot give",
                where=paths[min(channel, len(paths) - 1)],
                expected=f"at most {full_scale}",
                found=f"{largest}",
                fix="state the camera's bits in the platform file (bit_depth), or export unstretched pixels",
            )
