"""How often a model's decision of a cell changes when its picture is turned or mirrored, on simulated crops.

    python scripts/benchmarks/view_consistency.py --models ctcnet-s [FOLDER ...] [--panels ctc5] [--json JSON]

A cell is the same from all eight sides of a square. The crops are of cartridges that no model was shown, the same for
every model, and more than half of them contain a CTC, as in training. Every figure is of simulated cells. For research
use only.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result
from torch import Tensor, nn

from ctcnet.cli.models import find_model
from ctcnet.model_card import fold_matrix
from ctcnet.panel import Panel, load_panel
from ctcnet.pretrained.calibration import calibrated, untold_classes
from ctcnet.pretrained.eight_views import eight_views
from ctcnet.pretrained.specialise import check_panel, mode_for, panel_network
from ctcnet.progress import track
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import StreamSettings, draw_imaging, simulate_piece
from ctcnet.simulate.effects import Effects
from ctcnet.training.shipped_weights import ShippedCard, read_shipped

PANELS = ("ctc5", "cellsearch4", "hdsca4", "bzscanner")
SEED = 8_811
GROUPS, GROUP_CROPS = 8, 40


def changes(network: nn.Module, x: Tensor, fold: np.ndarray | None) -> np.ndarray:
    """Whether the class called of each crop (N, C, S, S) is another from one of the eight sides, bool (N,)."""
    with torch.inference_mode():
        logits = [network(view.contiguous()).logits.numpy() for view in eight_views(x)]
    called = np.stack([calibrated(values, 1.0, fold).argmax(axis=1) for values in logits])
    return (called != called[0]).any(axis=0)


def row(networks: Mapping[str, nn.Module], card: ShippedCard, panel: Panel, pieces: int) -> dict[str, str]:
    """One panel's line of the table."""
    fold, per_crop = fold_matrix(CLASSES, untold_classes(panel)), mode_for(panel) == "per_crop"
    settings = StreamSettings(
        (), card.crop_size_px, card.pixel_size_um, per_crop=per_crop, groups=GROUPS, group_crops=GROUP_CROPS
    )
    rng = np.random.default_rng(SEED)
    found: dict[str, list[np.ndarray]] = {name: [] for name in networks}
    for _ in track(range(pieces), f"simulating crops of panel '{panel.name}'", total=pieces):
        imaging = draw_imaging(panel, card.pixel_size_um, rng)
        x = simulate_piece(panel, settings, imaging, int(rng.integers(2**62)), Effects.all()).x.float()
        for name, network in networks.items():
            found[name].append(changes(network, x, fold))
    shares = {name: f"{100 * np.concatenate(parts).mean():.1f} %" for name, parts in found.items()}
    return {"panel": panel.name, "crops": str(pieces * GROUPS * GROUP_CROPS), **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ctcnet-s"], help="folders or names of shipped models")
    parser.add_argument("--panels", nargs="+", default=list(PANELS))
    parser.add_argument("--pieces", type=int, default=24, help="ways of imaging, of 320 crops each")
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    models = {given: read_shipped(find_model(given).parent) for given in args.models}
    card = next(iter(models.values())).card
    rows = []
    for name in args.panels:
        panel = check_panel(load_panel(name), card.name)
        networks = {given: panel_network(model, panel, mode_for(panel)).eval() for given, model in models.items()}
        rows.append(row(networks, card, panel, args.pieces))
    title = "crops whose decision changes with the view, simulated cells"
    print_table(title, rows)
    save_result(args.json, {"title": title, "hardware": hardware(), "rows": rows})


if __name__ == "__main__":
    main()
