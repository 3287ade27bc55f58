"""The compact network beside ResNet-18 with the same recipe and gradient boosting on features: one table.

Every peer is trained on the same folds over groups with the same seeds and scored on the pooled predictions for the
groups it was not trained on. Differences have paired bootstrap intervals over groups. Finished parts are kept in OUT
and not run again.

    python scripts/benchmarks/peer_table.py --config configs/jurkat_phases.yaml --manifest MANIFEST --out OUT \
        --folds jurkat_phases --fold 0 1 2 3 4 --seed 0 1 2
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import yaml
from benchmark_output import hardware, print_table, save_result
from boosting_peer import boosting, crop_features

from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.data.partition import SplitSettings
from ctcnet.evaluation.bootstrap import bootstrap_confusion, paired_difference, percentile_interval
from ctcnet.metrics import confusion_figures, group_confusion
from ctcnet.training.cross_validation import run_folds

BOOSTING = "boosting"
OURS = "compact"


def _run_network(args: argparse.Namespace, peer: str, fold: int, seed: int, folder: Path) -> dict[str, np.ndarray]:
    overrides = {
        "data.manifest": args.manifest,
        "data.split.folds": args.folds,
        "seed_everything": seed,
        "model.backbone": peer,
        "trainer.enable_progress_bar": False,
        "trainer.logger": False,
        **dict(option.split("=", 1) for option in args.set),
    }
    found = run_folds(args.config, overrides, [fold], folder)
    return {
        "path": found.path.astype(str),
        "group": found.group.astype(str),
        "truth": found.targets.argmax(axis=1),
        "probabilities": found.probabilities,
        "classes": np.array(found.schema.classes),
    }


def _run_boosting(args: argparse.Namespace, fold: int, seed: int) -> dict[str, np.ndarray]:
    settings = yaml.safe_load(args.config.read_text())["data"]
    settings = {name: value for name, value in settings.items() if name not in ("split", "augmentation")}
    split = SplitSettings(folds=args.folds, fold=fold)
    data = CropDataModule(**{**settings, "manifest": str(args.manifest), "split": split})
    data.setup("fit")
    nucleus = data.panel.roles.index("nucleus")
    rows = np.arange(len(data.crops))
    cache = args.out / "features.npy"
    if not cache.is_file():
        parts = [rows[start : start + 512] for start in range(0, len(rows), 512)]
        read = data.crops.read
        pixels = (read(part, data.pixel_size_um, data.crop_size_px) for part in parts)
        np.save(cache, np.concatenate([crop_features(crops, nucleus) for crops in pixels]))
    features, truth = np.load(cache), data.crops.labels
    test = data.rows_of("test")
    train = np.setdiff1d(rows, test)
    model = boosting(seed).fit(features[train], truth[train])
    probabilities = np.zeros((len(test), len(data.schema.classes)))
    probabilities[:, model.classes_] = model.predict_proba(features[test])
    return {
        "path": data.crops.path[test].astype(str),
        "group": data.crops.group[test].astype(str),
        "truth": truth[test],
        "probabilities": probabilities,
        "classes": np.array(data.schema.classes),
    }


def _part(args: argparse.Namespace, peer: str, fold: int, seed: int) -> dict[str, np.ndarray]:
    path = args.out / f"{peer}_seed{seed}_fold{fold}.npz"
    if not path.is_file():
        start = perf_counter()
        folder = args.out / "runs" / path.stem
        result = _run_boosting(args, fold, seed) if peer == BOOSTING else _run_network(args, peer, fold, seed, folder)
        result["seconds"] = np.array(perf_counter() - start)
        part = path.with_suffix(".part.npz")
        np.savez(part, **result)  # type: ignore[arg-type]
        part.rename(path)
        macro = confusion_figures(_tables(result["truth"], result["probabilities"].argmax(axis=1), result["group"])[0])
        print(f"{path.stem}: macro-F1 {macro['macro_f1'][0]:.3f}, {float(result['seconds']):.0f} s", flush=True)
    return dict(np.load(path))


def _tables(truth: np.ndarray, called: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confusion of all crops (1, K, K) and of each group (G, K, K)."""
    names, index = np.unique(group, return_inverse=True)
    classes = int(max(truth.max(), called.max())) + 1
    tables = group_confusion(truth, called, index, len(names), classes)
    return tables.sum(axis=0, keepdims=True), tables


def _seeds(args: argparse.Namespace, peer: str) -> list[int]:
    """Seeds of one peer: those of all, or its own where --seeds-of names it."""
    own = dict(entry.split("=", 1) for entry in args.seeds_of)
    return [int(seed) for seed in own[peer].split(",")] if peer in own else args.seed


class _Pooled:
    """Out-of-fold answers of one peer: truth and group (N,), called (S, N) for S seeds, sorted by path."""

    def __init__(self, args: argparse.Namespace, peer: str) -> None:
        called, seconds = [], []
        for seed in _seeds(args, peer):
            parts = [_part(args, peer, fold, seed) for fold in args.fold]
            joined = {name: np.concatenate([part[name] for part in parts]) for name in ("path", "group", "truth")}
            probabilities = np.concatenate([part["probabilities"] for part in parts])
            order = np.argsort(joined["path"])
            called.append(probabilities.argmax(axis=1)[order])
            seconds += [float(part["seconds"]) for part in parts]
        self.called, self.seconds = np.array(called), seconds
        self.path, self.group, self.truth = (joined[name][order] for name in ("path", "group", "truth"))
        self.classes = [str(name) for name in parts[0]["classes"]]

    def figures(self) -> dict[str, np.ndarray]:
        """Figures of `confusion_figures`, one line per seed."""
        each = [confusion_figures(_tables(self.truth, row, self.group)[0]) for row in self.called]
        return {name: np.concatenate([figures[name] for figures in each]) for name in each[0]}

    def interval(self, name: str) -> str:
        """95 % bootstrap interval over groups of a figure's mean over seeds."""
        draws = [bootstrap_confusion(_tables(self.truth, row, self.group)[1], 2000, 0)[name] for row in self.called]
        low, high = percentile_interval(np.mean(draws, axis=0)) or (np.nan, np.nan)
        return f"{low:.3f} to {high:.3f}"


def tabulate(args: argparse.Namespace) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Table of peers, and table of F1 per class."""
    pooled = {peer: _Pooled(args, peer) for peer in args.peers}
    rows, classes = [], []
    for peer, found in pooled.items():
        assert (found.path == pooled[args.peers[0]].path).all(), "peers were scored on different crops"
        figures = found.figures()
        row = {
            "peer": peer,
            "macro-F1": f"{figures['macro_f1'].mean():.3f} ({found.interval('macro_f1')})",
            "each seed": ", ".join(f"{value:.3f}" for value in figures["macro_f1"]),
            "accuracy": f"{figures['accuracy'].mean():.3f} ({found.interval('accuracy')})",
            f"macro-F1, {OURS} less this": "-",
            "s per fold": f"{np.mean(found.seconds):.0f}",
        }
        if peer != OURS and OURS in pooled:
            ours = pooled[OURS]
            gap = paired_difference(found.truth, ours.called, found.called, found.group, len(found.classes))["macro_f1"]
            row[f"macro-F1, {OURS} less this"] = f"{gap.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
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
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of training for all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--title", default="Peers")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    rows, classes = tabulate(args)
    title = f"{args.title}: folds {args.fold}, pooled predictions for groups not trained on"
    print_table(title, rows)
    print_table(f"{args.title}, per class", classes)
    save_result(args.out / "table.json", {"title": title, "hardware": hardware(), "rows": rows, "classes": classes})


if __name__ == "__main__":
    main()
