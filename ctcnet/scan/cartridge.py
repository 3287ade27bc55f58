"""A scanned cartridge or slide, whatever scanner wrote it: frames on a grid, channels by name, sizes in um.

Three coordinate frames are used. Pixels of a frame: x to the right, y downwards, (0, 0) is the centre of the upper
left pixel. Pixels and um of the cartridge: the same axes, (0, 0) is the centre of the upper left pixel of the frame
at row 0 and column 0 of the grid, whether that frame is there or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctcnet.panel import Panel


@dataclass(frozen=True)
class Frame:
    """Place of one frame.

    Attributes:
        number: number of the frame as the scanner counts.
        row, column: place on the grid, from 0.
        x_um, y_um: position of the centre of its upper left pixel in the cartridge.
    """

    number: int
    row: int
    column: int
    x_um: float
    y_um: float


@dataclass(frozen=True)
class PriorEvent:
    """Event that the scanner's own software or its operator recorded.

    Attributes:
        x_um, y_um: centre in the cartridge.
        frame: number of the frame, as the scanner counts.
        assigned: whether the operator called it a CTC.
    """

    x_um: float
    y_um: float
    frame: int
    assigned: bool


@dataclass(frozen=True)
class Note:
    """Something about a cartridge that a user must know of, though it can be scanned.

    Attributes:
        flag: short name, such as 'missing_frames' or 'uncertain_scale'; the same for all notes of a kind.
        message: one sentence: what, likely cause, effect.
        frame: number of the frame concerned; None where it is the cartridge.
    """

    flag: str
    message: str
    frame: int | None = None


@dataclass(frozen=True)
class Cartridge:
    """One scanned cartridge, opened but not read.

    Attributes:
        name: name of the cartridge, unique among those of one folder; by default the folder's or file's name.
        path: folder or file that it was opened from.
        layout: name of the reader.
        platform: name of the platform's settings, see `ctcnet.scan.platform`.
        panel: the channels that are there, in the order in which `read` gives them; its bit depth is that of the
            counts that `read` gives, its pixel size is `pixel_size_um`.
        pixel_size_um: micrometres per pixel, stated by the file, the platform or the user; never a guess.
        frame_height_px, frame_width_px: size of every frame.
        frames: frames that are there, in the order of their place (row, then column); at least one.
        missing: frames that should be there and are not.
        read_pixels: gives the pixels of a frame of `frames` by its index; used through `read`.
        overlap_x_px, overlap_y_px: columns and rows that neighbouring frames share; 0 where they only touch.
        rim_px: width of the band along the outer border of the grid, in pixels, that shows the cartridge's edge and
            in which nothing is counted; 0 where there is none.
        prior: events recorded by the scanner.
        notes: what a user must know.
        metadata: what else the scanner recorded, as plain data for the record.
        files: files beside `path` that belong to it, where it is one file of a set.
    """

    name: str
    path: Path
    layout: str
    platform: str
    panel: Panel
    pixel_size_um: float
    frame_height_px: int
    frame_width_px: int
    frames: tuple[Frame, ...]
    missing: tuple[Frame, ...]
    read_pixels: Callable[[int], np.ndarray] = field(repr=False)
    overlap_x_px: int = 0
    overlap_y_px: int = 0
    rim_px: int = 0
    prior: tuple[PriorEvent, ...] = ()
    notes: tuple[Note, ...] = ()
    metadata: dict[str, object] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def read(self, index: int) -> np.ndarray:
        """Counts of one frame, (C, H, W), uint8 or uint16, in camera counts (stretched pixels undone).

        Args:
            index: position in `frames`.

        Raises:
            FrameError: the frame's file is damaged or truncated, or its size, number of channels or bit depth is not
                that of the cartridge; the other frames can still be read.
        """
        return self.read_pixels(index)

    @property
    def rows(self) -> int:
        """Rows of the grid."""
        return 1 + max(frame.row for frame in (*self.frames, *self.missing))

    @property
    def columns(self) -> int:
        """Columns of the grid."""
        return 1 + max(frame.column for frame in (*self.frames, *self.missing))

    @property
    def step_x_um(self) -> float:
        """Distance between the left borders of neighbouring frames."""
        return (self.frame_width_px - self.overlap_x_px) * self.pixel_size_um

    @property
    def step_y_um(self) -> float:
        """Distance between the upper borders of neighbouring frames."""
        return (self.frame_height_px - self.overlap_y_px) * self.pixel_size_um
