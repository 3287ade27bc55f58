"""Quality of one frame: focus, saturation, background, density, covered area and registration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ctcnet.cartridge_levels import CELL_RADIUS_UM
from ctcnet.panel import Panel
from ctcnet.scan.event_kinds import CELL, CLUSTER, OBJECT
from ctcnet.scan.preprocess.cell_patches import disc_means, is_whole
from ctcnet.scan.preprocess.registration import ChannelShifts
from ctcnet.scan.preprocess.square_means import square_means
from ctcnet.scan.windows import cut_windows

FOCUS_CELLS = 100
"""So many cells of a frame are looked at for focus and level, evenly spread over its list of events."""
LEAST_FOCUS_CELLS = 5
FOCUS_RADIUS_UM = 6.0
SATURATED_SHARE = 0.995
"""Counts from this share of full scale are saturated; registration between pixels moves them a little."""
BLOCK_UM = 20.0
"""Covered area is looked for in blocks: wider than a cell, so that the darkest part of a block is background."""
THIN_PX, SMOOTH_PX = 2, 3
"""Every second pixel is looked at, and the mean taken over squares of 3 x 3 of these."""
COVERED_SNR = 6.0
BRIGHT_SHARE, DARK_SHARE = 0.5, 0.4
"""A block is covered where its floor is above or below the frame's by this share of the frame's floor."""
LEAST_COVERED_UM2 = 5000.0
"""Regions smaller than this (80 um across) are no bubble but a crowd of cells or a scrap of debris."""


def frame_quality(
    frame_number: int,
    counts: Tensor,
    x_px: np.ndarray,
    y_px: np.ndarray,
    kind: np.ndarray,
    background: np.ndarray,
    noise: np.ndarray,
    shifts: ChannelShifts,
    panel: Panel,
    pixel_size_um: float,
) -> dict[str, Any]:
    """Quality of one frame as plain data, for `quality.json`.

    Args:
        frame_number: as the scanner counts.
        counts: (C, H, W) float32 camera counts.
        x_px, y_px, kind: (N,) events in these counts; kind is 0 for a nucleated cell, 1 for an object without a
            nucleus, 2 for a cluster.
        background, noise: (C,) background and standard deviation of its pixels, in counts.
        shifts: of the frame's channels.
        panel: their channels.
        pixel_size_um: micrometres per pixel.

    Returns:
        Keys `frame`, `cells`, `objects`, `clusters` (numbers of events), `cells_per_mm2`, `covered_share` (0 to 1, area
        under something large, bright or dark in any channel), `registered` (false where a channel contradicts the
        others), `reference` (marker), and `channels`: for each marker
        `focus` (1/um, see `focus_per_um`), `cell_level` (median over cells of the level over background, counts),
        `background`, `noise` (counts), `saturated_share` (0 to 1), `bright_share`, `dark_share` (0 to 1, of the area),
        `shift_px` ([x, y] measured), `correlation_before`, `correlation_after` and `verdict`.
        What cannot be said is None.
    """
    height, width = counts.shape[1:]
    area_mm2 = height * width * (pixel_size_um / 1000) ** 2
    cells = kind == CELL
    focus, level = _focus_and_level(counts, x_px[cells], y_px[cells], background, noise, pixel_size_um)
    saturated = _saturated_shares(counts, SATURATED_SHARE * panel.full_scale)
    bright, dark = covered_blocks(counts, noise, pixel_size_um)
    channels = {
        marker: {
            "focus": _plain(focus[index]),
            "cell_level": _plain(level[index]),
            "background": _plain(background[index]),
            "noise": _plain(noise[index]),
            "saturated_share": _plain(saturated[index]),
            "bright_share": _plain(bright[index].mean()),
            "dark_share": _plain(dark[index].mean()),
            **_registration(shifts, index),
        }
        for index, marker in enumerate(panel.markers)
    }
    return {
        "frame": int(frame_number),
        "cells": int(cells.sum()),
        "objects": int((kind == OBJECT).sum()),
        "clusters": int((kind == CLUSTER).sum()),
        "cells_per_mm2": _plain(cells.sum() / area_mm2),
        "covered_share": _plain((bright | dark).any(axis=0).mean()),
        "registered": not shifts.unregistered,
        "reference": panel.markers[shifts.reference],
        "channels": channels,
    }


def _plain(value: Any) -> float | None:
    """A number of six digits for a JSON file; None for NaN."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def _saturated_shares(counts: Tensor, limit: float) -> list[float]:
    pixels = counts[0].numel()
    reached = (counts.amax((1, 2)) >= limit).tolist()  # counting is slow; most channels need none
    return [
        np.count_nonzero(image.numpy(force=True) >= limit) / pixels if some else 0.0
        for image, some in zip(counts, reached, strict=True)
    ]


def _registration(shifts: ChannelShifts, channel: int) -> dict[str, Any]:
    measured = shifts.measured_px[channel]
    return {
        "shift_px": [round(float(value), 3) for value in measured] if np.isfinite(measured).all() else None,
        "correlation_before": _plain(shifts.correlation_before[channel]),
        "correlation_after": _plain(shifts.correlation_after[channel]),
        "verdict": shifts.verdict[channel],
    }


def _focus_and_level(
    counts: Tensor,
    x_px: np.ndarray,
    y_px: np.ndarray,
    background: np.ndarray,
    noise: np.ndarray,
    pixel_size_um: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Focus in 1/um and median level in counts of each channel, NaN where there are too few cells."""
    radius_px = max(2, math.ceil(FOCUS_RADIUS_UM / pixel_size_um))
    whole = np.flatnonzero(is_whole(x_px, y_px, (counts.shape[1], counts.shape[2]), radius_px + 1))
    if len(whole) < LEAST_FOCUS_CELLS:
        return np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    chosen = whole[np.linspace(0, len(whole) - 1, min(FOCUS_CELLS, len(whole))).round().astype(int)]
    x_px, y_px = x_px[chosen], y_px[chosen]
    step = torch.arange(-radius_px - 1, radius_px + 2, device=counts.device)
    first = np.stack([y_px, x_px]).round().astype(np.int64) - radius_px - 1
    top, left = torch.as_tensor(first, device=counts.device)
    windows = cut_windows(counts, top, left, len(step), len(step))
    disc = step.square()[:, None] + step.square() <= radius_px**2
    focus = focus_per_um(windows, disc, np.asarray(background), np.asarray(noise), pixel_size_um)
    level = np.median(disc_means(counts, x_px, y_px, max(CELL_RADIUS_UM / pixel_size_um, 1.0)), axis=0) - background
    return focus, level


def focus_per_um(
    windows: Tensor, disc: Tensor, background: np.ndarray, noise: np.ndarray, pixel_size_um: float
) -> np.ndarray:
    """Focus of each channel around cells: root of gradient power over signal power, in 1/um.

    sqrt(sum |grad I|^2 / sum (I - B)^2) / pixel size over the windows, gradients by central differences, both sums less
    what white noise of deviation s gives (s^2 per pixel, in each of them). A Gaussian spot of standard deviation d has
    1 / d; a defocused image has less, whatever its brightness.

    Args:
        windows: (C, N, S, S) float32 around cells.
        disc: (S, S) bool, pixels that count; false on the border.
        background, noise: (C,).
        pixel_size_um: micrometres per pixel.

    Returns:
        float64 (C,); NaN where the signal does not exceed the noise.
    """
    level = torch.as_tensor(background, dtype=windows.dtype, device=windows.device)
    signal = windows - level[:, None, None, None]
    along_y = (signal[:, :, 2:, 1:-1] - signal[:, :, :-2, 1:-1]) / 2
    along_x = (signal[:, :, 1:-1, 2:] - signal[:, :, 1:-1, :-2]) / 2
    used = disc[1:-1, 1:-1].to(windows.dtype)
    gradient_power = ((along_y.square() + along_x.square()) * used).sum((1, 2, 3)).double().cpu().numpy()
    signal_power = (signal[:, :, 1:-1, 1:-1].square() * used).sum((1, 2, 3)).double().cpu().numpy()
    noise_power = np.asarray(noise, np.float64) ** 2 * float(used.sum()) * windows.shape[1]
    seen = signal_power > 2 * noise_power
    ratio = np.maximum(gradient_power - noise_power, 0) / np.where(seen, signal_power - noise_power, 1)
    return np.where(seen, np.sqrt(ratio) / pixel_size_um, np.nan)


def covered_blocks(counts: Tensor, noise: np.ndarray, pixel_size_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of about `BLOCK_UM` under something large and bright, or large and dark, such as a bubble or an edge.

    The floor of a block is its least value after smoothing, which cells do not raise; a block is
    covered where its floor is far from the frame's median floor and its neighbours are too, over `LEAST_COVERED_UM2`.

    Args:
        counts: (C, H, W) float32.
        noise: (C,) standard deviation of the background in counts.
        pixel_size_um: micrometres per pixel.

    Returns:
        bright and dark, each bool (C, rows, columns).
    """
    smooth = square_means(counts[:, ::THIN_PX, ::THIN_PX], SMOOTH_PX)[:, None]
    pitch_um = pixel_size_um * THIN_PX * SMOOTH_PX
    block = max(1, min(round(BLOCK_UM / pitch_um), *smooth.shape[2:]))
    floor = -F.max_pool2d(-smooth, block)[:, 0].cpu().numpy()
    typical = np.median(floor, axis=(1, 2), keepdims=True)
    above = floor - typical
    least = COVERED_SNR * np.asarray(noise, np.float64)[:, None, None]
    least_blocks = LEAST_COVERED_UM2 / (block * pitch_um) ** 2
    bright = above > np.maximum(least, BRIGHT_SHARE * np.abs(typical))
    dark = -above > np.maximum(least, DARK_SHARE * np.abs(typical))
    return _large_regions(bright, least_blocks), _large_regions(dark, least_blocks)


def _large_regions(blocks: np.ndarray, least_blocks: float) -> np.ndarray:
    """`blocks` without connected regions of fewer blocks than `least_blocks`, channel by channel."""
    result = np.zeros_like(blocks)
    for channel in np.flatnonzero(blocks.any(axis=(1, 2))):
        regions = np.zeros(blocks[channel].shape, np.int32)
        ndimage.label(blocks[channel], output=regions)
        sizes = np.bincount(regions.ravel())
        sizes[0] = 0
        result[channel] = (sizes >= least_blocks)[regions]
    return result
