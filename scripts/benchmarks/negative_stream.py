"""Simulated events without a CTC, as many as rare false calls need, made and scored piece by piece without files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ctcnet.panel import Panel
from ctcnet.simulate.cartridge_levels import measure_cartridge_levels
from ctcnet.simulate.composition import IS_DEBRIS, IS_LEUKOCYTE
from ctcnet.simulate.crop_plan import plan_crops
from ctcnet.simulate.crop_simulator import DIFFICULTIES, CropSimulator

PIECE_CROPS, PIECE_GROUPS = 10_000, 24
FIRST_SEED = 9_000_000
"""Of the first piece; each further piece has the next one, and so patients of its own."""
NEGATIVE_SHARES = {"leukocyte": 0.5, "debris": 0.5}
"""As among the negatives of the test crops."""
BATCH = 256


class Negatives(NamedTuple):
    """Crops (n, C, S, S) uint16 and the levels of their cartridges, float32 (n, C)."""

    counts: np.ndarray
    background: np.ndarray
    scale: np.ndarray


def negatives(
    panel: Panel, difficulty: str, piece: int, crops: int = PIECE_CROPS, groups: int = PIECE_GROUPS
) -> Iterator[Negatives]:
    """Batches of one piece of the stream; the same piece is the same crops every time.

    Args:
        panel: of the crops, 64 px at the panel's pixel size.
        difficulty: name in `DIFFICULTIES`.
        piece: its number, 0 or greater.
        crops, groups: of the piece; groups are patients with a cartridge each.
    """
    seed = FIRST_SEED + piece
    plan = plan_crops(crops, seed, groups, NEGATIVE_SHARES)
    assert set(np.unique(plan.labels)) <= {IS_LEUKOCYTE, IS_DEBRIS}
    simulator = CropSimulator(
        panel, seed=seed, num_groups=plan.num_groups, scanners=plan.scanners, difficulty=DIFFICULTIES[difficulty]
    )
    background, scale = (values.astype(np.float32) for values in measure_cartridge_levels(simulator))
    for start in range(0, crops, BATCH):
        labels, of_group = plan.labels[start : start + BATCH], plan.groups[start : start + BATCH]
        counts = simulator.sample(torch.from_numpy(labels), torch.from_numpy(of_group)).counts.numpy()
        yield Negatives(counts, background[of_group], scale[of_group])
