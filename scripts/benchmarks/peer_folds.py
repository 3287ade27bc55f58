"""Peers trained on the same folds over groups: finished parts are kept as files, and answers pooled over the folds."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import joblib
import numpy as np
import yaml
from boosting_peer import boosting, crop_features

from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.data.partition import SplitSettings
from ctcnet.evaluation.bootstrap import bootstrap_confusion, paired_difference, percentile_interval
from ctcnet.metrics import confusion_figures, group_confusion
from ctcnet.training.cross_validation import run_folds

BOOSTING = "boosting"
TAUGHT_BY = "_taught_by_"
"""Between the backbone of a peer and that of the network of the same fold and seed that taught it."""
FEATURE_CHUNK = 512


class FoldRuns(NamedTuple):
    """What all peers of a comparison share.

    Attributes:
        config: YAML configuration of training.
        manifest: crops.
        folds: number of folds, CSV file or shipped name.
        out: folder for finished parts.
        options: options of training for all networks.
    """

    config: Path
    manifest: Path
    folds: str
    out: Path
    options: Mapping[str, str]

    def part(self, peer: str, fold: int, seed: int) -> dict[str, np.ndarray]:
        """Answers of a peer for one fold, trained on the others, from its file or else by training.

        Returns:
            path, group, truth (N,), probabilities (N, K), classes (K,), seconds ().
        """
        path = self.out / f"{peer}_seed{seed}_fold{fold}.npz"
        if not path.is_file():
            if teacher := peer.partition(TAUGHT_BY)[2]:
                self.part(teacher, fold, seed)  # whose seconds are its own
            start = perf_counter()
            result = self._boosting(fold, seed) if peer == BOOSTING else self._network(peer, fold, seed)
            result["seconds"] = np.array(perf_counter() - start)
            part = path.with_suffix(".part.npz")
            np.savez(part, **result)  # type: ignore[arg-type]
            part.rename(path)
            macro = macro_f1(result["truth"], result["probabilities"].argmax(axis=1))
            print(f"{path.stem}: macro-F1 {macro:.3f}, {float(result['seconds']):.0f} s", flush=True)
        return dict(np.load(path))

    def checkpoint(self, peer: str, fold: int, seed: int) -> Path:
        """Where a finished part's network lies."""
        return self._run_folder(peer, fold, seed) / f"fold_{fold}" / "best.ckpt"

    def boosting_model(self, fold: int, seed: int) -> Path:
        """Where a finished part's boosting lies."""
        return self.out / f"{BOOSTING}_seed{seed}_fold{fold}.joblib"

    def _run_folder(self, peer: str, fold: int, seed: int) -> Path:
        return self.out / "runs" / f"{peer}_seed{seed}_fold{fold}"

    def _network(self, peer: str, fold: int, seed: int) -> dict[str, np.ndarray]:
        backbone, _, teacher = peer.partition(TAUGHT_BY)
        taught = {"model.teacher.model": self.checkpoint(teacher, fold, seed)} if teacher else {}
        overrides = {
            "data.manifest": self.manifest,
            "data.split.folds": self.folds,
            "seed_everything": seed,
            "model.backbone": backbone,
            "trainer.enable_progress_bar": False,
            "trainer.logger": False,
            **self.options,
            **taught,
        }
        folder = self._run_folder(peer, fold, seed)
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
        found = run_folds(self.config, overrides, [fold], folder)
        return {
            "path": found.path.astype(str),
            "group": found.group.astype(str),
            "truth": found.targets.argmax(axis=1),
            "probabilities": found.probabilities,
            "classes": np.array(found.schema.classes),
        }

    def _boosting(self, fold: int, seed: int) -> dict[str, np.ndarray]:
        settings = yaml.safe_load(self.config.read_text())["data"]
        settings = {name: value for name, value in settings.items() if name not in ("split", "augmentation")}
        split = SplitSettings(folds=self.folds, fold=fold)
        data = CropDataModule(**{**settings, "manifest": str(self.manifest), "split": split})
        data.setup("fit")
        features, truth = self._features(data), data.crops.labels
        test = data.rows_of("test")
        train = np.setdiff1d(np.arange(len(truth)), test)
        model = boosting(seed).fit(features[train], truth[train])
        joblib.dump(model, self.boosting_model(fold, seed))
        probabilities = np.zeros((len(test), len(data.schema.classes)))
        probabilities[:, model.classes_] = model.predict_proba(features[test])
        return {
            "path": data.crops.path[test].astype(str),
            "group": data.crops.group[test].astype(str),
            "truth": truth[test],
            "probabilities": probabilities,
            "classes": np.array(data.schema.classes),
        }

    def _features(self, data: CropDataModule) -> np.ndarray:
        cache = self.out / "features.npy"
        if not cache.is_file():
            nucleus = data.panel.roles.index("nucleus")
            rows = np.arange(len(data.crops))
            parts = [rows[start : start + FEATURE_CHUNK] for start in range(0, len(rows), FEATURE_CHUNK)]
            read = data.crops.read
            pixels = (read(part, data.pixel_size_um, data.crop_size_px) for part in parts)
            np.save(cache, np.concatenate([crop_features(crops, nucleus) for crops in pixels]))
        return np.load(cache)


def macro_f1(truth: np.ndarray, called: np.ndarray) -> float:
    """Macro-F1 of classes (N,) called, over the classes that there are."""
    classes = int(max(truth.max(), called.max())) + 1
    table = group_confusion(truth, called, np.zeros(len(truth), dtype=int), 1, classes)
    return float(confusion_figures(table)["macro_f1"][0])


class Pooled:
    """Answers of one peer for all crops that it was not trained on, in the order of their paths.

    Args:
        path, group: (N,) text.
        truth: (N,) int.
        called: (S, N) int, for S seeds.
        classes: names.
    """

    def __init__(
        self, path: np.ndarray, group: np.ndarray, truth: np.ndarray, called: np.ndarray, classes: Sequence[str]
    ) -> None:
        order = np.argsort(path)
        self.path, self.group, self.truth, self.called = path[order], group[order], truth[order], called[:, order]
        self.classes = tuple(classes)
        names, index = np.unique(self.group, return_inverse=True)
        self._tables = [group_confusion(self.truth, row, index, len(names), len(classes)) for row in self.called]

    @classmethod
    def of_parts(cls, seeds: Sequence[Sequence[Mapping[str, np.ndarray]]]) -> Pooled:
        """From what `FoldRuns.part` gives, for each seed the same folds."""
        called = [np.concatenate([part["probabilities"].argmax(axis=1) for part in parts]) for parts in seeds]
        first = {name: np.concatenate([part[name] for part in seeds[0]]) for name in ("path", "group", "truth")}
        return cls(**first, called=np.array(called), classes=[str(name) for name in seeds[0][0]["classes"]])

    def figures(self) -> dict[str, np.ndarray]:
        """Figures of `confusion_figures`, one line per seed."""
        each = [confusion_figures(table.sum(axis=0, keepdims=True)) for table in self._tables]
        return {name: np.concatenate([figures[name] for figures in each]) for name in each[0]}

    def interval(self, name: str) -> str:
        """95 % bootstrap interval over groups of a figure's mean over seeds."""
        draws = [bootstrap_confusion(table, 2000, 0)[name] for table in self._tables]
        low, high = percentile_interval(np.mean(draws, axis=0)) or (np.nan, np.nan)
        return f"{low:.3f} to {high:.3f}"

    def less(self, other: Pooled) -> str:
        """Macro-F1 less that of another peer, with its paired interval over groups."""
        assert (self.path == other.path).all(), "peers were scored on different crops"
        gap = paired_difference(self.truth, self.called, other.called, self.group, len(self.classes))["macro_f1"]
        return f"{gap.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
