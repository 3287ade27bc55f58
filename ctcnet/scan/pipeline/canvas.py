"""Frames made ready and joined with strips of their neighbours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.order_statistics import lower_median
from ctcnet.scan.pipeline.territory import Place, Territories
from ctcnet.scan.preprocess.registration import ChannelShifts

_THIN_PX = 4  # every fourth pixel along each axis: a median over all is no surer


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
class Strips:
    """What a frame lends its right and lower neighbours: its last columns and rows, M before the overlap and O in it.

    Attributes:
        right: (C, H, M + O) counts; right_valid (H, M + O).
        lower: (C, M + O, W) counts; lower_valid (M + O, W).
    """

    right: Tensor
    right_valid: Tensor
    lower: Tensor
    lower_valid: Tensor


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
        right=prepared.counts[:, :, columns:].clone(),
        right_valid=prepared.valid[:, columns:].clone(),
        lower=prepared.counts[:, rows:].clone(),
        lower_valid=prepared.valid[rows:].clone(),
    )


class StripCache:
    """Strips of the frames last worked on; those that were let go, or never read, are made again.

    Args:
        make: makes the strips of a frame by its index, or gives None for a frame that cannot be read.
        keep: number of frames whose strips are kept: a row of the grid and a little more.
    """

    def __init__(self, make: Callable[[int], Strips | None], keep: int) -> None:
        self._make, self._keep = make, keep
        self._kept: OrderedDict[int, Strips | None] = OrderedDict()

    def put(self, index: int, strips: Strips | None) -> None:
        """Keep the strips of a frame (None: the frame cannot be read)."""
        self._kept[index] = strips
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)

    def get(self, index: int | None) -> Strips | None:
        """Strips of a frame; None where there is no frame or it cannot be read."""
        if index is None:
            return None
        if index not in self._kept:
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
    left, upper, corner = strips.get(near.left), strips.get(near.upper), strips.get(near.upper_left)
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
        thin = known[:, ::_THIN_PX, ::_THIN_PX].flatten(1)
        typical = lower_median(thin)[:, None, None]
        counts[:, :free_y] = typical
        counts[:, :, :free_x] = typical
    valid = torch.zeros((height, width), dtype=torch.bool, device=counts.device)
    if corner is not None and offset_x and offset_y:
        wide = corner.lower.shape[2] - cartridge.overlap_x_px - margin
        counts[:, :offset_y, :offset_x] = corner.lower[:, :margin, wide : wide + margin]
        valid[:offset_y, :offset_x] = corner.lower_valid[:margin, wide : wide + margin]
    if upper is not None and offset_y:
        depth = min(upper.lower.shape[1], free_y)
        counts[:, :depth, offset_x:] = upper.lower[:, :depth]
        valid[:depth, offset_x:] = upper.lower_valid[:depth]
    if left is not None and offset_x:
        depth = min(left.right.shape[2], free_x)
        counts[:, offset_y:, :depth] = left.right[:, :, :depth]
        valid[offset_y:, :depth] = left.right_valid[:, :depth]
    if prepared is not None:
        valid[offset_y:, offset_x:] = prepared.valid
    return Canvas(counts, valid, offset_x, offset_y)


def _known(prepared: PreparedFrame | None, *strips: Strips | None) -> Iterator[Tensor]:
    if prepared is not None:
        yield prepared.counts
    yield from (strip.lower for strip in strips if strip is not None)


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
    return float(torch.count_nonzero(counted)) * cartridge.pixel_size_um**2
