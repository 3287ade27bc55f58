"""A shipped model beside networks that were trained for one panel alone, on simulated crops that neither has seen.

Each network has the shipped model's architecture, settings and simulator, and sees nothing but its panel, with no
channel left out. Macro-F1 is of the same crops for both; the difference has a paired bootstrap interval over sets of
cartridges, each of which was imaged in its own way. Finished networks are kept in OUT and not trained again.

    python scripts/benchmarks/single_panel_networks.py --out OUT [--panels ctc5 cellsearch4] [--steps 4000]

Every figure is of simulated cells. For research use only.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result
from safetensors.torch import load_file, save_file
from torch import Tensor

from ctcnet.cli.models import find_model
from ctcnet.evaluation.bootstrap import paired_difference
from ctcnet.model_card import fold_matrix
from ctcnet.panel import Panel, load_panel
from ctcnet.pretrained.calibration import calibrated, calibration_crops, folded_labels, untold_classes
from ctcnet.pretrained.specialise import check_panel, mode_for, panel_network
from ctcnet.pretrained.stream_training import train_on_stream
from ctcnet.pretrained.universal_module import UniversalSettings
from ctcnet.simulate.crop_stream import StreamSettings
from ctcnet.training.shipped_weights import ShippedModel, read_shipped

PANELS = ("ctc5", "cellsearch4")
TRAINING_SEED, TEST_SEED = 4_000, 78_000


def alone(panel: Panel, shipped: ShippedModel, steps: int, workers: int, path: Path) -> dict[str, Tensor]:
    """Weights of a universal network that was shown this panel alone, from `path` or else by training."""
    if not path.is_file():
        card = shipped.card
        stream = StreamSettings(
            (panel,),
            card.crop_size_px,
            card.pixel_size_um,
            per_crop=mode_for(panel) == "per_crop",
            panel_share=1.0,
            drop_share=0.0,
        )
        start = time.monotonic()
        weights = train_on_stream(UniversalSettings(steps), stream, TRAINING_SEED, workers)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, path)
        print(f"{panel.name}: {steps} steps in {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    return load_file(path)


def called(model: ShippedModel, panel: Panel, pieces: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and called classes and set of cartridges (N,) of crops that are the same for every model."""
    mode = mode_for(panel)
    network = panel_network(model, panel, mode)
    crops = calibration_crops(model.card, network, panel, mode, seed=TEST_SEED, pieces=pieces)
    fold = fold_matrix(model.card.labels.classes, untold_classes(panel))
    found = calibrated(crops.features.logits, 1.0, fold).argmax(axis=1)
    return folded_labels(crops.labels, fold), found, crops.piece


def row(shipped: ShippedModel, name: str, args: argparse.Namespace) -> dict[str, str]:
    """One panel's line of the table."""
    panel = check_panel(load_panel(name), shipped.card.name)
    weights = alone(panel, shipped, args.steps, args.workers, args.out / f"{name}_{args.steps}.safetensors")
    single = replace(shipped, weights={mode_for(panel): weights})
    truth, universal, piece = called(shipped, panel, args.pieces)
    _, own, _ = called(single, panel, args.pieces)
    classes = len(shipped.card.labels.classes)
    gap = paired_difference(truth, universal, own, piece, classes, figures=("macro_f1",))["macro_f1"]
    return {
        "panel": name,
        "test crops": f"{len(truth)}",
        f"{shipped.card.name}, macro-F1": f"{gap.first:.3f}",
        "trained for the panel alone": f"{gap.second:.3f}",
        "difference (95 % interval)": f"{gap.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})",
        "wanted": "-0.010 or more",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for finished networks")
    parser.add_argument("--model", default="ctcnet-s")
    parser.add_argument("--panels", nargs="+", default=PANELS)
    parser.add_argument("--steps", type=int, default=4000, help="of 256 crops, for each panel")
    parser.add_argument("--pieces", type=int, default=192, help="sets of 2 cartridges of 40 crops to test on")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shipped = read_shipped(find_model(args.model).parent)
    rows = [row(shipped, name, args) for name in args.panels]
    print_table(f"{args.model} beside networks of one panel after {args.steps} steps, simulated crops", rows)
    save_result(args.json, {"hardware": hardware(), "steps": args.steps, "rows": rows})


if __name__ == "__main__":
    main()
