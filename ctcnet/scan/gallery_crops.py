"""Crops of the events that a report shows, cut again from their frames with all channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ctcnet.errors import FrameError
from ctcnet.scan.canvas import StripCache, Strips, build_canvas, strips_of
from ctcnet.scan.crop_cutting import CropCutter
from ctcnet.scan.finishing import FinishInput


def cut_gallery(finish: FinishInput, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Crops of events at the model's scale.

    Args:
        finish: the cartridge and how its frames are made ready.
        columns: frame, x_px and y_px of the events, (N,).

    Returns:
        (N, C, S, S) uint16 counts of all channels of the cartridge.
    """
    cartridge, card, analyser = finish.cartridge, finish.card, finish.analyser
    size = card.crop_size_px
    crops = np.zeros((len(columns["frame"]), len(cartridge.panel.channels), size, size), dtype=np.uint16)
    cutter = CropCutter(cartridge.pixel_size_um, card.pixel_size_um, size, finish.settings.device)
    margin = analyser.territories.margin_px
    lent = StripCache(lambda index: _strips(finish, index, margin), keep=cartridge.columns + 2)
    place_of = {place.frame: place for place in analyser.territories.places}
    index_of = {frame.number: index for index, frame in enumerate(cartridge.frames)}
    with torch.inference_mode():
        for number in sorted(set(columns["frame"].tolist())):
            rows = np.flatnonzero(columns["frame"] == number)
            index = index_of[number]
            prepared = analyser.prepare(index)
            canvas = build_canvas(prepared, place_of[index], cartridge, analyser.territories, lent)
            assert canvas is not None
            fill = canvas.counts.flatten(1).median(dim=1).values.cpu().numpy()
            x_px = columns["x_px"][rows] + canvas.offset_x_px
            cut = cutter.cut(canvas.counts, x_px, columns["y_px"][rows] + canvas.offset_y_px, fill)
            crops[rows] = cut.cpu().numpy().astype(np.uint16)
    return crops


def _strips(finish: FinishInput, index: int, margin_px: int) -> Strips | None:
    """What a frame lends its neighbours; None where it cannot be read, which its record says already."""
    try:
        return strips_of(finish.analyser.prepare(index), finish.cartridge, margin_px)
    except FrameError:
        return None
