"""Which work answers for which place, so that every event is seen whole where it can be, and counted once.

The grid's places are worked on from left to right and from top to bottom. To each frame strips of its left and upper
neighbours are added, which have been read already. A place answers for a territory that begins `shift_px` before its
own left and upper border and ends as far before the border of the next place; so every crop lies inside pixels that are
known, no frame is read ahead, and the territories part the cartridge without a gap. A place whose frame is missing or
cannot be read answers for the strips of its neighbours that fall to it, so that nothing beside a hole is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ctcnet.scan.cartridge import Cartridge

GUARD_UM = 1.5
"""Events this far outside a territory are kept until duplicates are removed: two frames may place one event on either
side of the line between them."""

LEAST_CONTEXT_UM = 14.0
"""Pixels this far around an event must be known even for small crops: the largest cell and its surroundings."""


@dataclass(frozen=True)
class Place:
    """A place of the grid.

    Attributes:
        row, column: on the grid.
        frame: position in `Cartridge.frames` of the frame there; None where it is missing.
    """

    row: int
    column: int
    frame: int | None


@dataclass(frozen=True)
class Neighbours:
    """Positions in `Cartridge.frames` of a place's neighbours; None where there is no frame."""

    left: int | None
    upper: int | None
    upper_left: int | None


@dataclass(frozen=True)
class Territory:
    """Half-open box in pixels of a frame: x_from <= x < x_to, y_from <= y < y_to."""

    x_from: float
    x_to: float
    y_from: float
    y_to: float

    def depth(self, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
        """Distance in pixels from the territory's border, (N,): above 0 inside, below 0 outside."""
        sides = (x_px - self.x_from, self.x_to - x_px, y_px - self.y_from, self.y_to - y_px)
        return np.minimum.reduce(sides)


class Territories:
    """Territories of a cartridge's places.

    Args:
        cartridge: the cartridge.
        crop_reach_um: half the side of a crop.

    Attributes:
        places: frames, and missing places beside them, by row and column.
        shift_px: how far territories begin before a place's left and upper border.
        margin_px: width of the strips that neighbours lend.
        guard_px: `GUARD_UM` in pixels.
    """

    def __init__(self, cartridge: Cartridge, crop_reach_um: float) -> None:
        reach_px = math.ceil(max(crop_reach_um, LEAST_CONTEXT_UM) / cartridge.pixel_size_um) + 2
        self._step_x_px = cartridge.frame_width_px - cartridge.overlap_x_px
        self._step_y_px = cartridge.frame_height_px - cartridge.overlap_y_px
        self.shift_px = min(reach_px, min(self._step_x_px, self._step_y_px) // 4)
        self.margin_px = 2 * self.shift_px
        self.guard_px = GUARD_UM / cartridge.pixel_size_um
        self._cartridge = cartridge
        self._at = {(frame.row, frame.column): index for index, frame in enumerate(cartridge.frames)}
        beside = {(row + dy, column + dx) for row, column in self._at for dy, dx in ((0, 1), (1, 0), (1, 1))}
        inside = {(row, column) for row, column in beside if row < cartridge.rows and column < cartridge.columns}
        self.places = tuple(
            Place(row, column, self._at.get((row, column))) for row, column in sorted(inside | {*self._at})
        )

    def neighbours(self, place: Place) -> Neighbours:
        """Neighbours that lend strips to a place."""
        row, column = place.row, place.column
        return Neighbours(
            self._at.get((row, column - 1)), self._at.get((row - 1, column)), self._at.get((row - 1, column - 1))
        )

    def territory(self, place: Place) -> Territory:
        """Territory of a place, in pixels of the frame that is or would be there."""
        cartridge = self._cartridge
        last_column, last_row = cartridge.columns - 1, cartridge.rows - 1
        return Territory(
            x_from=-self.shift_px if place.column > 0 else -0.5,
            x_to=self._step_x_px - self.shift_px if place.column < last_column else cartridge.frame_width_px - 0.5,
            y_from=-self.shift_px if place.row > 0 else -0.5,
            y_to=self._step_y_px - self.shift_px if place.row < last_row else cartridge.frame_height_px - 0.5,
        )

    def owner(self, place: Place, x_px: np.ndarray, y_px: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frame whose own pixels hold each point, and the point in its pixels.

        Args:
            place: the place in whose pixels the points are given.
            x_px, y_px: (N,) float.

        Returns:
            Positions in `Cartridge.frames`, int64 (N,), and x_px, y_px, (N,), in the pixels of those frames.
        """
        back_y, back_x = (y_px < -0.5).astype(np.int64), (x_px < -0.5).astype(np.int64)
        owner = self._frames_at(place, back_y, back_x)
        for other_y, other_x in ((0, 0), (0, 1), (1, 0), (1, 1)):  # a place without a frame shows what others lend it
            lone = owner < 0
            back_y[lone], back_x[lone] = other_y, other_x
            owner[lone] = self._frames_at(place, back_y[lone], back_x[lone])
        return owner, x_px + self._step_x_px * back_x, y_px + self._step_y_px * back_y

    def _frames_at(self, place: Place, back_y: np.ndarray, back_x: np.ndarray) -> np.ndarray:
        """Position in `Cartridge.frames` of the frame so many places up and to the left; -1 where there is none."""
        table = np.array(
            [[self._at.get((place.row - up, place.column - left), -1) for left in (0, 1)] for up in (0, 1)]
        )
        return table[back_y, back_x]
