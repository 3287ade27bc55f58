"""How well a model tells spoilt cartridges from typical ones by their leukocytes: simulated, of one panel.

    python scripts/benchmarks/cartridge_atypicality.py --model ctcnet-s --panel ctc5 [--cartridges 40] [--out JSON]

Each cartridge has 200 leukocytes, is imaged in its own way and scored as `ctcnet scan` scores one: typical, with CK and
CD45 swapped, read at 1.5 times and at 1/1.5 of its pixel size, and with one stain after the other at background level.
Levels are measured on what is seen, so that they are as wrong as in a scan. The model needs a reference of cartridges;
nothing is fitted here. For research use only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ctcnet.cli.models import load_predictor
from ctcnet.panel import Panel, load_panel
from ctcnet.progress import track
from ctcnet.resampling import resampling_matrix
from ctcnet.runtime import Predictor
from ctcnet.runtime.cartridge_atypicality import LEAST_LEUKOCYTES, called_leukocyte, cartridge_atypicality
from ctcnet.simulate.cartridge_levels import levels_of_crops
from ctcnet.simulate.composition import IS_LEUKOCYTE
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.crop_stream import draw_imaging
from ctcnet.simulate.effects import Effects

SEED = 78_000
"""Far from the seeds of training, calibration and references."""
PIXEL_SIZE_FACTOR = 1.5
WIDEST = 1.6
"""Crops are simulated this much wider than the network's field, for pixel sizes read too large."""
BATCH = 100


@dataclass(frozen=True)
class Leukocytes:
    """Crops of the leukocytes of one cartridge as its camera saw them.

    Attributes:
        simulator: what they were made with.
        counts: (N, C, S, S) uint16.
        roles: of the channels.
    """

    simulator: CropSimulator
    counts: Tensor
    roles: tuple[str, ...]


Fault = Callable[[Leukocytes, np.random.Generator], Tensor]
"""Gives counts as they would be read from a cartridge with a fault."""


def simulate(panel: Panel, pixel_size_um: float, side_px: int, rng: np.random.Generator) -> Leukocytes:
    """Leukocytes of a cartridge of its own imaging, in crops wide enough for every fault."""
    imaging = draw_imaging(panel, pixel_size_um, rng)
    wide_px = int(np.ceil(side_px * WIDEST * pixel_size_um / imaging.pixel_size_um)) + 4
    simulator = CropSimulator(
        panel,
        crop_size_px=wide_px,
        pixel_size_um=imaging.pixel_size_um,
        seed=int(rng.integers(2**62)),
        num_groups=1,
        scanners=1,
        difficulty=imaging.difficulty,
        numerical_aperture=imaging.numerical_aperture,
        effects=Effects.all(),
    )
    labels = torch.full((LEAST_LEUKOCYTES,), IS_LEUKOCYTE)
    counts = simulator.sample(labels, torch.zeros_like(labels)).counts
    return Leukocytes(simulator, counts, panel.roles)


def unchanged(cells: Leukocytes, _: np.random.Generator) -> Tensor:
    """As the camera saw them."""
    return cells.counts


def swapped(cells: Leukocytes, _: np.random.Generator) -> Tensor:
    """Epithelial and leukocyte channel in each other's place."""
    order = list(range(len(cells.roles)))
    first, second = cells.roles.index("epithelial"), cells.roles.index("leukocyte")
    order[first], order[second] = second, first
    return cells.counts[:, order]


def without_stain(channel: int) -> Fault:
    """A channel at the level and with the noise of its background."""

    def fail(cells: Leukocytes, rng: np.random.Generator) -> Tensor:
        counts = cells.counts.clone()
        edge = counts[:, channel, :3].float()
        level = edge.median()
        noise = 1.4826 * (edge - level).abs().median() + 0.3
        drawn = level + noise * torch.from_numpy(rng.standard_normal(counts[:, channel].shape)).float()
        counts[:, channel] = drawn.round().clamp(0, cells.simulator.panel.full_scale).to(counts.dtype)
        return counts

    return fail


def faults(panel: Panel) -> dict[str, tuple[Fault, float]]:
    """Name -> what is done to the counts, and the pixel size that is stated in units of the true one."""
    found: dict[str, tuple[Fault, float]] = {"typical": (unchanged, 1.0)}
    if {"epithelial", "leukocyte"} <= set(panel.roles):
        found["CK and CD45 swapped"] = (swapped, 1.0)
    for factor, name in ((PIXEL_SIZE_FACTOR, "1.5"), (1 / PIXEL_SIZE_FACTOR, "1/1.5")):
        found[f"pixel size {name} of the true one"] = (unchanged, factor)
    stained = (c for c in enumerate(panel.channels) if c[1].role not in ("transmitted", "scatter"))
    return found | {f"no stain in {channel.marker}": (without_stain(index), 1.0) for index, channel in stained}


def score(predictor: Predictor, cells: Leukocytes, counts: Tensor, factor: float) -> float:
    """Score of a cartridge whose pixel size is stated as `factor` times the true one."""
    card = predictor.card
    seen = copy(cells.simulator)
    seen.pixel_size_um *= factor
    step_px = card.pixel_size_um / seen.pixel_size_um
    margin_px = max(0, (cells.simulator.crop_size_px - int(np.ceil(card.crop_size_px * step_px)) - 4) // 2)
    seen.crop_size_px -= 2 * margin_px
    inner = slice(margin_px, margin_px + seen.crop_size_px)
    counts = counts[..., inner, inner]
    labels = torch.full((len(counts),), IS_LEUKOCYTE)
    background, scale = levels_of_crops(seen, counts, labels, torch.zeros_like(labels))
    weights, _ = resampling_matrix(seen.crop_size_px, card.crop_size_px, step_px)
    shrink = torch.from_numpy(weights.copy())
    pixels = (shrink @ counts.float() @ shrink.T).round().clamp(0, seen.panel.full_scale)
    crops = pixels.numpy().astype(np.uint16)
    levels = (background[0].astype(np.float32), scale[0].astype(np.float32))
    parts = [predictor.predict(crops[start : start + BATCH], *levels) for start in range(0, len(crops), BATCH)]
    embedding, probabilities = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("embedding", "probabilities")
    )
    reference = predictor.cartridge_reference
    assert reference is not None
    return cartridge_atypicality(reference, embedding, called_leukocyte(probabilities, card.labels)).score


def scores_of_kinds(predictor: Predictor, cartridges: int) -> dict[str, np.ndarray]:
    """Scores (`cartridges`,) of each kind of cartridge; the same leukocytes, one fault after the other."""
    card = predictor.card
    kinds = faults(card.panel)
    rng = np.random.default_rng(SEED)
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in track(range(cartridges), f"{card.name}: simulating cartridges of panel '{card.panel.name}'"):
        cells = simulate(card.panel, card.pixel_size_um, card.crop_size_px, rng)
        for name, (change, factor) in kinds.items():
            found[name].append(score(predictor, cells, change(cells, rng), factor))
    return {name: np.array(values) for name, values in found.items()}


def rows_of(scores: dict[str, np.ndarray]) -> list[dict[str, str]]:
    """A line for each kind."""
    typical = scores["typical"]
    rows = []
    for name, values in scores.items():
        truth = np.r_[np.zeros(len(typical)), np.ones(len(values))]
        area = "" if name == "typical" else f"{roc_auc_score(truth, np.r_[typical, values]):.4f}"
        rows.append(
            {
                "cartridges (simulated)": name,
                "AUROC": area,
                "wanted": "" if name == "typical" else "> 0.99",
                "above 1 %": f"{100 * (values > 1).mean():.0f}",
                "score, 5 to 95 %": " to ".join(f"{value:.2f}" for value in np.quantile(values, (0.05, 0.95))),
            }
        )
    return rows


def main() -> None:
    """Read the arguments, simulate, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ctcnet-s")
    parser.add_argument("--panel", default="ctc5", help="of a shipped model; others have their own")
    parser.add_argument("--cartridges", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load_predictor(arguments.model, "cpu", 1, load_panel(arguments.panel))
    if predictor.cartridge_reference is None:
        raise SystemExit(f"{arguments.model} holds no reference of cartridges for panel '{arguments.panel}'")
    rows = rows_of(scores_of_kinds(predictor, arguments.cartridges))
    title = f"Atypicality of {arguments.cartridges} cartridges of {LEAST_LEUKOCYTES} leukocytes, {arguments.panel}"
    print_table(title, rows)
    save_result(arguments.out, {"hardware": hardware(), "model": arguments.model, "rows": rows})


if __name__ == "__main__":
    main()
