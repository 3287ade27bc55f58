"""The compact network beside ResNet-18 with the same recipe and gradient boosting on features: one table.

Every peer is trained on the same folds over groups with the same seeds and scored on the pooled predictions for the
groups it was not trained on. Differences have paired bootstrap intervals over groups. Finished parts are kept in OUT
and not run again. A peer named compact_taught_by_resnet18 learns from the answers of that network of the same fold and
seed beside the labels.

    python scripts/benchmarks/peer_table.py --config configs/jurkat_phases.yaml --manifest MANIFEST --out OUT \
        --folds jurkat_phases --fold 0 1 2 3 4 --seed 0 1 2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result
from peer_folds import BOOSTING, FoldRuns, Pooled

OURS = "compact"


def _seeds(args: argparse.Namespace, peer: str) -> list[int]:
    """Seeds of one peer: those of all, or its own where --seeds-of names it."""
    own = dict(entry.split("=", 1) for entry in args.seeds_of)
    return [int(seed) for seed in own[peer].split(",")] if peer in own else args.seed


def tabulate(args: argparse.Namespace) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Table of peers, and table of F1 per class."""
    options = dict(option.split("=", 1) for option in args.set)
    runs = FoldRuns(args.config, args.manifest, args.folds, args.out, options)
    parts = {
        peer: [[runs.part(peer, fold, seed) for fold in args.fold] for seed in _seeds(args, peer)]
        for peer in args.peers
    }
    pooled = {peer: Pooled.of_parts(seeds) for peer, seeds in parts.items()}
    rows, classes = [], []
    for peer, found in pooled.items():
        figures = found.figures()
        compared = peer != args.ours and args.ours in pooled
        row = {
            "peer": peer,
            "macro-F1": f"{figures['macro_f1'].mean():.3f} ({found.interval('macro_f1')})",
            "each seed": ", ".join(f"{value:.3f}" for value in figures["macro_f1"]),
            "accuracy": f"{figures['accuracy'].mean():.3f} ({found.interval('accuracy')})",
            f"macro-F1, {args.ours} less this": pooled[args.ours].less(found) if compared else "-",
            "s per fold": f"{np.mean([part['seconds'] for seed in parts[peer] for part in seed]):.0f}",
        }
        rows.append(row)
        f1 = figures["f1"].mean(axis=0)
        support = figures["support"][0]
        named = {f"{name} ({n:.0f})": f"{value:.3f}" for name, n, value in zip(found.classes, support, f1, strict=True)}
        classes.append({"F1 per class (crops)": peer, **named})
    return rows, classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for finished parts and the table")
    parser.add_argument("--folds", default="5", help="number of folds, CSV file or shipped name")
    parser.add_argument("--fold", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seeds-of", nargs="*", default=[], metavar="PEER=SEEDS", help="fewer seeds for a slow peer")
    parser.add_argument("--peers", nargs="+", default=[OURS, "resnet18", BOOSTING])
    parser.add_argument("--ours", default=OURS, help="peer that the others are subtracted from")
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of training for all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--title", default="Peers")
    args = parser.parse_args()
    if args.ours not in (*args.peers, OURS):
        parser.error(f"--ours {args.ours} is none of the peers: {', '.join(args.peers)}")
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    rows, classes = tabulate(args)
    title = f"{args.title}: folds {args.fold}, pooled predictions for groups not trained on"
    print_table(title, rows)
    print_table(f"{args.title}, per class", classes)
    save_result(args.out / "table.json", {"title": title, "hardware": hardware(), "rows": rows, "classes": classes})


if __name__ == "__main__":
    main()
