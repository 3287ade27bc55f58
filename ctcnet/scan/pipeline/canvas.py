"""Frames made ready and joined with strips of their neighbours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.pipeline.territory import Place, Territories
from ctcnet.scan.preprocess.registration import ChannelShifts
from ctcnet.scan.typical_counts import typical_counts


@dataclass(frozen=True)
class PreparedFrame:
    """One frame after spectral unmixing, with its channels' shifts undone.

    Attributes:
        counts: (C, H, W) float32; the lower right part of `canvas`.
        valid: (H, W) bool, where every channel has a source and the cartridge's rim is not.
        shifts: what was measured between the channels.
        canvas: (C, H', W') float32, with room for what the left and upper neighbours lend, see `room_px`.
    """

    counts: Tensor
    valid: Tensor
    shifts: ChannelShifts
    canvas: Tensor


@dataclass(frozen=True)
class Strip:
    """A part of a frame.

    Attributes:
        counts: (C, h, w) float32.
        valid: (h, w) bool.
    """

    counts: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Strips:
    """What a frame lends its right and lower neighbours: its last columns and rows, M before the overlap and O in it.

    Attributes:
        right: (H, M + O) pixels; None where it was let go.
        lower: (M + O, W) pixels.
    """

    right: Strip | None
    lower: Strip


@dataclass(frozen=True)
class Canvas:
    """A frame with what its neighbours lend.

    Attributes:
        counts: (C, H', W') float32; where nobody lends anything, the median of what is known.
        valid: (H', W') bool.
        offset_x_px, offset_y_px: position of the frame's own first pixel on the canvas.
    """

    counts: Tensor
    valid: Tensor
    offset_x_px: int
    offset_y_px: int


def room_px(row: int, column: int, territories: Territories) -> tuple[int, int]:
    """Lines above and columns to the left of a frame on its canvas, by its place on the grid."""
    return territories.margin_px if row > 0 else 0, territories.margin_px if column > 0 else 0


def strips_of(prepared: PreparedFrame, cartridge: Cartridge, margin_px: int) -> Strips:
    """Strips that a frame lends its neighbours, as copies, so that the frame itself can be let go."""
    columns = cartridge.frame_width_px - cartridge.overlap_x_px - margin_px
    rows = cartridge.frame_height_px - cartridge.overlap_y_px - margin_px
    return Strips(
        right=Strip(prepared.counts[:, :, columns:].clone(), prepared.valid[:, columns:].clone()),
        lower=Strip(prepared.counts[:, rows:].clone(), prepared.valid[rows:].clone()),
    )


class StripCache:
    """Strips of the frames last worked on; those that were let go, or never read, are made again.

    Whoever owns the cache is not to be what `make` is a method of: the two would hold each other, and the strips stay
    in memory after the work is done.

    Args:
        make: makes the strips of a frame by its index, or gives None for a frame that cannot be read.
        keep: number of frames whose lower strips are kept: a row of the grid and a little more. The strip to the right
            is kept of the last frame alone, beside which the next one stands.
    """

    def __init__(self, make: Callable[[int], Strips | None], keep: int) -> None:
        self._make, self._keep = make, keep
        self._kept: OrderedDict[int, Strips | None] = OrderedDict()

    def put(self, index: int, strips: Strips | None) -> None:
        """Keep the strips of a frame (None: the frame cannot be read)."""
        if self._kept:
            last, before = next(reversed(self._kept.items()))
            self._kept[last] = None if before is None else replace(before, right=None)
        self._kept[index] = strips
        self._kept.move_to_end(index)
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)

    def forget(self, indices: Iterable[int]) -> None:
        """Let go of frames' strips that nobody needs any more."""
        for index in indices:
            self._kept.pop(index, None)

    def lower(self, index: int | None) -> Strips | None:
        """Strips of a frame, of which the one to the right may be gone; None: no frame, or it cannot be read."""
        if index is None:
            return None
        if index not in self._kept:
            self.put(index, self._make(index))
        return self._kept[index]

    def whole(self, index: int | None) -> Strips | None:
        """Both strips of a frame; None where there is no frame or it cannot be read."""
        strips = self.lower(index)
        if index is None or strips is None or strips.right is not None:
            return strips
        self.put(index, self._make(index))
        return self._kept[index]


def build_canvas(
    prepared: PreparedFrame | None, place: Place, cartridge: Cartridge, territories: Territories, strips: StripCache
) -> Canvas | None:
    """Join a frame with the strips of its left and upper neighbours, in place on the canvas that it was made ready on.

    Args:
        prepared: the frame; None where it is missing or cannot be read, and only what neighbours lend is known.
        place: where it stands, or would.
        cartridge, territories: the grid.
        strips: what other frames lend.

    Returns:
        The canvas; None where nothing of it is known.
    """
    near = territories.neighbours(place)
    left, upper, corner = strips.whole(near.left), strips.lower(near.upper), strips.lower(near.upper_left)
    known = next((tensor for tensor in _known(prepared, left, upper, corner)), None)
    if known is None:
        return None
    margin = territories.margin_px
    offset_y, offset_x = room_px(place.row, place.column, territories)
    height, width = cartridge.frame_height_px + offset_y, cartridge.frame_width_px + offset_x
    counts = known.new_empty((len(known), height, width)) if prepared is None else prepared.canvas
    free_y, free_x = (height, width) if prepared is None else (offset_y, offset_x)  # what is not the frame's own
    beside = left is not None or not offset_x, upper is not None or not offset_y
    if prepared is None or not all(beside) or (corner is None and offset_x and offset_y):
        typical = typical_counts(known)
        counts[:, :free_y] = typical
        counts[:, :, :free_x] = typical
    valid = torch.zeros((height, width), dtype=torch.bool, device=counts.device)
    if corner is not None and offset_x and offset_y:
        wide = corner.lower.counts.shape[2] - cartridge.overlap_x_px - margin
        counts[:, :offset_y, :offset_x] = corner.lower.counts[:, :margin, wide : wide + margin]
        valid[:offset_y, :offset_x] = corner.lower.valid[:margin, wide : wide + margin]
    if upper is not None and offset_y:
        depth = min(upper.lower.counts.shape[1], free_y)
        counts[:, :depth, offset_x:] = upper.lower.counts[:, :depth]
        valid[:depth, offset_x:] = upper.lower.valid[:depth]
    if left is not None and left.right is not None and offset_x:
        depth = min(left.right.counts.shape[2], free_x)
        counts[:, offset_y:, :depth] = left.right.counts[:, :, :depth]
        valid[offset_y:, :depth] = left.right.valid[:, :depth]
    if prepared is not None:
        valid[offset_y:, offset_x:] = prepared.valid
    return Canvas(counts, valid, offset_x, offset_y)


def _known(prepared: PreparedFrame | None, *strips: Strips | None) -> Iterator[Tensor]:
    if prepared is not None:
        yield prepared.counts
    yield from (lent.lower.counts for lent in strips if lent is not None)


def counted_area_um2(prepared: PreparedFrame, cartridge: Cartridge, right: bool, lower: bool) -> float:
    """Area of a frame in which events are counted: valid, shared pixels counted once.

    Args:
        right, lower: whether there is a frame to the right and below, to which the shared pixels go.
    """
    counted = prepared.valid.clone()
    if cartridge.overlap_x_px and right:
        counted[:, cartridge.frame_width_px - cartridge.overlap_x_px :] = False
    if cartridge.overlap_y_px and lower:
        counted[cartridge.frame_height_px - cartridge.overlap_y_px :] = False
    return float(np.count_nonzero(counted.numpy(force=True))) * cartridge.pixel_size_um**2
