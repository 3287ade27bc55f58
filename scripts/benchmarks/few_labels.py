"""What a few labels of real cells are worth: the compact network from the shipped weights, and two networks from none.

For each number of labels per class, crops are drawn from the training groups of each fold, and every network learns
from the same ones: a fixed number of optimiser steps, no validation crops, the moving average after the last step.
Answers for the groups left out are pooled over the folds. Every run is kept in OUT as JSON and not run again.

    python scripts/benchmarks/few_labels.py --manifest MANIFEST --out OUT [--per-class 5 10 50] [--draws 0 1 2]
    python scripts/benchmarks/few_labels.py --manifest MANIFEST --out OUT --choose    # learning rates

`--choose` tries learning rates within the folds `INNER` alone, on a draw that the table does not use: each of
`CHOICE_FOLDS` is predicted from labels of the others. What it chose stands in `LEARNING_RATE`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from benchmark_output import hardware, print_table, save_result
from label_draws import draw_labels
from lightning.pytorch import Trainer, seed_everything
from peer_folds import Pooled, macro_f1

from ctcnet.crops import read_crops
from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.crops.packing import pack_crops
from ctcnet.data.augmentation import Augmentation
from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.data.partition import SplitSettings, fold_numbers
from ctcnet.labels import load_schema
from ctcnet.panel import load_panel
from ctcnet.progress import track
from ctcnet.training.classifier_module import ClassifierModule, gather_answers
from ctcnet.training.losses import LossSettings
from ctcnet.training.optimizer import OptimizerSettings
from ctcnet.training.shipped_weights import find_shipped, read_card

CONFIG = Path("configs/jurkat_phases.yaml")
FOLDS, INNER = (0, 1, 2, 3, 4), (1, 2, 3, 4)
CHOICE_FOLDS = (1, 2)
BATCH = 32
WARMUP_SHARE = 0.1
CHOICE_DRAW = 1000
"""Number of the draw that learning rates are chosen on."""
CHOICE_PER_CLASS = 10


class Way(NamedTuple):
    """A backbone and the weights that it starts from."""

    backbone: str
    start_from: str | None


class Recipe(NamedTuple):
    """Learning rate at its highest and optimiser steps."""

    learning_rate: float
    steps: int


WAYS = {
    "compact from ctcnet-s": Way("compact", "ctcnet-s"),
    "compact, random": Way("compact", None),
    "ResNet-18, random": Way("resnet18", None),
}
LEARNING_RATE = dict.fromkeys(WAYS, 2e-3)
RATES = (5e-4, 2e-3)
LEAST_STEPS, STEPS_PER_LABEL = 200, 8


class Run(NamedTuple):
    """One network to train: way, labels per class, number of the draw, fold left out, folds labelled, recipe."""

    way: str
    per_class: int
    draw: int
    fold: int
    labelled_folds: tuple[int, ...]
    recipe: Recipe

    @property
    def file_name(self) -> str:
        """Of its result; other weights to start from give another name."""
        backbone, start_from = WAYS[self.way]
        start = "random" if start_from is None else f"{start_from}-{_weights_sha256(start_from)[:8]}"
        folds = "".join(map(str, self.labelled_folds))
        rate, steps = self.recipe
        return f"{backbone}_{start}_{self.per_class}_draw{self.draw}_fold{self.fold}_of{folds}_{rate:g}_{steps}.json"


@cache
def _weights_sha256(shipped: str) -> str:
    folder = find_shipped(shipped, "a shipped model")
    assert folder is not None
    return read_card(folder).weights_sha256


class GivenParts(CropDataModule):
    """Data module of crops that were read and divided already.

    Args:
        crops: all of them.
        part: object (N,), 'train', 'test', or '' for crops that take no part.
        settings: of `CropDataModule`.
    """

    def __init__(self, crops: LabelledCrops, part: np.ndarray, settings: dict[str, Any]) -> None:
        super().__init__(**settings)
        self._given = crops
        self.part = part

    def setup(self, stage: str) -> None:
        """Nothing is read: the levels come from the labelled crops."""
        if self._crops is None:
            self._crops = self._given
            self.levels = self._make_levels()


class Bench:
    """Packed crops, their folds and the settings of training.

    Args:
        config: YAML configuration of training.
        manifest: crops.
        out: folder of results; the crops are packed there too.
    """

    def __init__(self, config: Path, manifest: Path, out: Path) -> None:
        self.settings, self.out = yaml.safe_load(config.read_text()), out
        out.mkdir(parents=True, exist_ok=True)
        data = self.settings["data"]
        self.store = out / "store"
        if not self.store.is_dir():
            crops = read_crops(
                manifest,
                load_panel(data["panel"]),
                load_schema(data["labels"]),
                assumed_pixel_size_um=data["assumed_pixel_size_um"],
                labelled=True,
            )
            pack_crops(crops, self.store, pixel_size_um=data["pixel_size_um"], crop_size_px=data["crop_size_px"])
        crops = read_crops(self.store, load_panel(data["panel"]), load_schema(data["labels"]), labelled=True)
        self.crops, self.fold = crops, fold_numbers(crops, SplitSettings(folds=data["split"]["folds"]))

    def parts(self, run: Run) -> np.ndarray:
        """Part of each crop, object (N,): 'train' where its label is used, 'test' in the fold left out, else ''."""
        allowed = np.isin(self.fold, run.labelled_folds)
        part = np.full(len(self.fold), "", dtype=object)
        part[draw_labels(self.crops.labels, allowed, run.per_class, run.draw)] = "train"
        part[self.fold == run.fold] = "test"
        return part

    def result(self, run: Run) -> dict[str, Any]:
        """Classes called of the crops in the fold left out, from the run's file or else by training."""
        path = self.out / run.file_name
        if not path.is_file():
            start = perf_counter()
            part = self.parts(run)
            test = np.flatnonzero(part == "test")
            called = self._train(run, part)
            result = {
                "labels_used": int((part == "train").sum()),
                "path": [str(name) for name in self.crops.path[test]],
                "group": [str(name) for name in self.crops.group[test]],
                "truth": self.crops.labels[test].tolist(),
                "called": called.tolist(),
                "seconds": perf_counter() - start,
            }
            save_result(path.with_suffix(".part"), result)
            path.with_suffix(".part").rename(path)
        return json.loads(path.read_text())

    def _train(self, run: Run, part: np.ndarray) -> np.ndarray:
        """Train as the run says and call the crops of the part 'test', int (n,)."""
        seed_everything(run.draw, verbose=False)
        data = self._data(part, seed=run.draw)
        way, model = WAYS[run.way], dict(self.settings["model"])
        steps_per_epoch = max(1, int((part == "train").sum()) // data.batch_size)
        optimizer = model.pop("optimizer") | {
            "learning_rate": run.recipe.learning_rate,
            "warmup_epochs": WARMUP_SHARE * run.recipe.steps / steps_per_epoch,
        }
        model |= {"backbone": way.backbone, "start_from": way.start_from, "loss": LossSettings(**model["loss"])}
        module = ClassifierModule(**model, optimizer=OptimizerSettings(**optimizer))
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                accelerator="cpu", precision="bf16-mixed", max_steps=run.recipe.steps, max_epochs=-1, logger=False,
                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                default_root_dir=folder, use_distributed_sampler=False,
            )  # fmt: skip
            trainer.fit(module, datamodule=data)
        answers = [module.answer(batch, module.model) for batch in data.loader("test", all_processes=False)]
        return gather_answers(answers, across_processes=False).logits.argmax(axis=1)

    def _data(self, part: np.ndarray, seed: int) -> GivenParts:
        batch_size = min(BATCH, int((part == "train").sum()))
        settings = {**self.settings["data"], "manifest": str(self.store), "seed": seed, "batch_size": batch_size}
        del settings["split"]
        settings["augmentation"] = Augmentation(**settings["augmentation"])
        return GivenParts(self.crops, part, settings)


def steps(per_class: int) -> int:
    """Optimiser steps for so many labels per class, the same for every network."""
    return max(LEAST_STEPS, STEPS_PER_LABEL * per_class)


def choose(bench: Bench, ways: Sequence[str]) -> list[dict[str, str]]:
    """Pooled macro-F1 of every way with every one of `RATES`, within the inner folds."""
    rows = []
    for way, rate in product(ways, RATES):
        others = {fold: tuple(other for other in INNER if other != fold) for fold in CHOICE_FOLDS}
        recipe = Recipe(rate, steps(CHOICE_PER_CLASS))
        runs = [Run(way, CHOICE_PER_CLASS, CHOICE_DRAW, fold, others[fold], recipe) for fold in CHOICE_FOLDS]
        found = [bench.result(run) for run in track(runs, f"{way}, {rate:g}")]
        truth, called = (np.concatenate([part[name] for part in found]) for name in ("truth", "called"))
        rows.append({"network": way, "learning rate": f"{rate:g}", "macro-F1": f"{macro_f1(truth, called):.3f}"})
    return rows


def pooled(bench: Bench, way: str, per_class: int, draws: Sequence[int]) -> Pooled:
    """Answers for all folds, one line per draw."""
    called = []
    for draw in draws:
        others = {fold: tuple(other for other in FOLDS if other != fold) for fold in FOLDS}
        recipe = Recipe(LEARNING_RATE[way], steps(per_class))
        runs = [Run(way, per_class, draw, fold, others[fold], recipe) for fold in FOLDS]
        parts = [bench.result(run) for run in track(runs, f"{way}, {per_class} per class, draw {draw}")]
        columns = {
            name: np.concatenate([part[name] for part in parts]) for name in ("path", "group", "truth", "called")
        }
        called.append(columns.pop("called"))
    schema = bench.crops.schema
    assert schema is not None
    return Pooled(**columns, called=np.array(called), classes=schema.classes)


def tabulate(bench: Bench, ways: Sequence[str], per_class: Sequence[int], draws: Sequence[int]) -> list[dict[str, str]]:
    """One row per number of labels and way."""
    rows = []
    for number in per_class:
        found = {way: pooled(bench, way, number, draws) for way in ways}
        for way, answers in found.items():
            figures = answers.figures()["macro_f1"]
            rows.append(
                {
                    "labels per class": str(number),
                    "network": way,
                    "macro-F1": f"{figures.mean():.3f} ({answers.interval('macro_f1')})",
                    "each draw": ", ".join(f"{value:.3f}" for value in figures),
                    f"macro-F1, {ways[0]} less this": "-" if way == ways[0] else found[ways[0]].less(answers),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for finished runs and the table")
    parser.add_argument("--per-class", type=int, nargs="+", default=[5, 10, 50])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2], help="which labels are drawn")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="the first one is compared")
    parser.add_argument("--choose", action="store_true", help="try learning rates within the inner folds")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = Bench(args.config, args.manifest, args.out)
    if args.choose:
        title, rows = (
            f"{CHOICE_PER_CLASS} labels per class, folds {CHOICE_FOLDS} from {INNER}",
            choose(bench, args.ways),
        )
    else:
        title, rows = "Few labels of real cells", tabulate(bench, args.ways, args.per_class, args.draws)
    print_table(title, rows)
    name = "choice.json" if args.choose else "table.json"
    save_result(args.out / name, {"title": title, "hardware": hardware(), "rows": rows})


if __name__ == "__main__":
    main()
