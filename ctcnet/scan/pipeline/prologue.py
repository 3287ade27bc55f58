"""Levels of a cartridge, measured on a fixed sample of its frames before any event is classified."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.model_card import ModelCard
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.pipeline.frame_analysis import FrameAnalyser
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.scan.preprocess.frame_sample import FrameSample
from ctcnet.scan.preprocess.levels import SampleFigures, combine_levels, sample_figures

SAMPLE_FRAMES = 9
"""Frames that levels are measured on: some thousand leukocytes, for a twentieth of the work of a cartridge."""

NOTE_NAME = "levels"


_UNUSED_LEVELS = Note(
    "unused_levels", "levels were given, and the model does not use them: its own are fixed, or each crop has its own"
)


def sample_of(cartridge: Cartridge) -> list[int]:
    """Positions in `Cartridge.frames` of the sample, spread evenly: the middles of equal parts."""
    count = len(cartridge.frames)
    parts = min(SAMPLE_FRAMES, count)
    return sorted({(2 * part + 1) * count // (2 * parts) for part in range(parts)})


def cartridge_levels(
    analyser: FrameAnalyser, work: WorkFolder, given: dict[str, tuple[float, float]] | None, workers: int
) -> dict[str, Any]:
    """Levels of a cartridge as plain data, from the journal where they are there already.

    Returns:
        {'source': 'measured' | 'given', 'frames': [...], 'leukocytes': n, 'levels': {marker: {'background', 'scale',
        'noise'}}, 'distribution': {...}, 'notes': [...]}; numbers that cannot be said are None.
    """
    kept = work.read_note(NOTE_NAME)
    if kept is None:
        kept = _given(analyser.cartridge, given) if given is not None else _measured(analyser, workers)
        work.write_note(NOTE_NAME, kept)
    return kept


def _given(cartridge: Cartridge, given: dict[str, tuple[float, float]]) -> dict[str, Any]:
    folded = {marker.casefold(): pair for marker, pair in given.items()}
    missing = [c.marker for c in cartridge.panel.channels if c.role != "none" and c.marker.casefold() not in folded]
    if missing:
        raise CartridgeError(
            f"no levels were given for {', '.join(missing)}",
            where=cartridge.name,
            expected=", ".join(cartridge.panel.markers),
            found=", ".join(given),
            fix="give levels for every channel with a role, or let them be measured",
        )
    levels = {
        marker: {"background": folded[marker.casefold()][0], "scale": folded[marker.casefold()][1], "noise": None}
        for marker in cartridge.panel.markers
        if marker.casefold() in folded
    }
    return {"source": "given", "frames": [], "leukocytes": None, "levels": levels, "distribution": {}, "notes": []}


def _measured(analyser: FrameAnalyser, workers: int) -> dict[str, Any]:
    cartridge = analyser.cartridge
    chosen = sample_of(cartridge)
    with ThreadPoolExecutor(workers, thread_name_prefix="ctcnet-levels") as pool:
        sampled = list(pool.map(lambda index: _sample(analyser, index), chosen))
    samples = [sample for sample in sampled if sample is not None]
    numbers = [
        cartridge.frames[index].number for index, sample in zip(chosen, sampled, strict=True) if sample is not None
    ]
    measured = combine_levels(samples, cartridge.panel, cartridge.pixel_size_um)
    names = cartridge.panel.markers
    return {
        "source": "measured",
        "frames": numbers,
        "leukocytes": measured.leukocytes,
        "cells": measured.cells,
        "levels": _by_marker(names, background=measured.background, scale=measured.scale, noise=measured.noise),
        "distribution": _by_marker(
            names,
            level_5=measured.level_5,
            level_50=measured.level_50,
            level_95=measured.level_95,
            level_log_sd=measured.level_log_sd,
            centre_to_ring=measured.centre_to_ring,
        ),
        "nucleus_diameter_um": _plain(measured.nucleus_diameter_um),
        "notes": [{"flag": note.flag, "message": note.message} for note in measured.notes],
    }


def _sample(analyser: FrameAnalyser, index: int) -> SampleFigures | None:
    """Figures of a frame by itself; None where it cannot be read, or its nuclei do not belong to its stains."""
    with torch.inference_mode():
        try:
            prepared = analyser.prepare(index)
        except FrameError:
            return None  # it is recorded as unreadable when its turn comes
        analyser.remember(index, prepared.shifts)
        if prepared.shifts.unregistered:
            return None
        events = analyser.detector.detect(prepared.counts[None], prepared.valid[None])[0]
    sample = FrameSample(
        events.x_px, events.y_px, events.kind, prepared.counts, events.background, events.noise, prepared.valid
    )
    return sample_figures(sample, analyser.cartridge.panel, analyser.cartridge.pixel_size_um)


def _by_marker(names: tuple[str, ...], **figures: np.ndarray) -> dict[str, dict[str, float | None]]:
    return {
        name: {figure: _plain(values[channel]) for figure, values in figures.items()}
        for channel, name in enumerate(names)
    }


def _plain(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def describe_levels(name: str, levels: dict[str, Any]) -> str:
    """Levels in a line for people: background + scale in counts."""
    entries = [
        f"{marker} {_short(entry['background'])} + {_short(entry['scale'])}"
        for marker, entry in levels["levels"].items()
    ]
    source = "given" if levels["source"] == "given" else f"from {levels['leukocytes']} leukocytes"
    return f"{name}: background + scale in counts, {source}: {', '.join(entries)}"


def _short(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def levels_of_model(
    levels: dict[str, Any], card: ModelCard, cartridge: Cartridge, channels: list[int]
) -> tuple[np.ndarray | None, np.ndarray | None, str, list[Note]]:
    """What a model is given as background and scale: arrays float32 (C,) of its channels, or None for its own.

    Returns:
        Background, scale, the name of their source ('cartridge', 'model' or 'per_crop'), and notes.

    Raises:
        CartridgeError: the model's own levels are to be used, and are those of another bit depth.
    """
    mode = card.normalization.mode
    unused = [_UNUSED_LEVELS] if levels["source"] == "given" else []
    if mode == "per_crop":
        note = Note("per_crop_levels", "the model normalises each crop by itself: absolute stain plays no part")
        return None, None, mode, [note, *unused]
    if mode == "fixed":
        _check_constants(card, cartridge)
        return None, None, "model", unused
    entries = [levels["levels"].get(cartridge.panel.markers[channel], {}) for channel in channels]
    pairs = [(entry.get("background"), entry.get("scale")) for entry in entries]
    if all(value is not None for pair in pairs for value in pair):
        background, scale = (np.array(values, dtype=np.float32) for values in zip(*pairs, strict=True))
        return background, scale, "cartridge", []
    if cartridge.panel.bit_depth != card.panel.bit_depth:
        raise CartridgeError(
            "background and scale could not be measured, and the model's own are of another bit depth",
            where=cartridge.name,
            expected=f"{card.panel.bit_depth} bit, or leukocytes to measure levels on",
            found=f"{cartridge.panel.bit_depth} bit, {levels['leukocytes'] or 0} leukocytes in the sample",
            fix="give the levels of a like cartridge with --levels (the levels.json of its results)",
        )
    message = "the model's own background and scale were used: the cartridge's could not be measured; "
    return None, None, "model", [Note("model_levels", message + "absolute stain may be off, look at the gallery")]


def _check_constants(card: ModelCard, cartridge: Cartridge) -> None:
    """Raise CartridgeError where a model of fixed levels was made for counts of another bit depth."""
    if cartridge.panel.bit_depth != card.panel.bit_depth:
        raise CartridgeError(
            "has counts of another bit depth than those that the model's fixed levels are for",
            where=cartridge.name,
            expected=f"{card.panel.bit_depth} bit",
            found=f"{cartridge.panel.bit_depth} bit",
            fix="use a model for this bit depth, or one that takes its levels from the cartridge",
        )
