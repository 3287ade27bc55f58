"""Peers on the simulated five-class test of the hard setting: accuracy, rare false calls, size and speed.

Every peer learns from the same crops (four folds of five over simulated patients, no validation crops, the moving
average after the last step) and is scored on the fifth, and on a stream of simulated events without a CTC of further
patients, which says how many CTCs it finds at a rate of false calls. Finished parts are kept in OUT and not run again.

    ctcnet simulate crops CROPS --count 75000 --groups 120 --seed 21 --difficulty hard
    ctcnet pack CROPS/manifest.csv --panel ctc5 --labels five_class -o STORE
    python scripts/benchmarks/simulated_peers.py --manifest STORE --out OUT [--peers compact boosting ...]

All cells are simulated: no figure says anything about patients. For research use only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import encoder_classifier
import joblib
import numpy as np
import onnxruntime
import torch
from benchmark_output import hardware, print_table, save_result
from boosting_peer import crop_features
from inference_speed import measure
from negative_stream import PIECE_CROPS, Negatives, negatives
from peer_folds import BOOSTING, FoldRuns, Pooled

from ctcnet.evaluation.rare_events import ZERO_EVENTS_BOUND, recall_at_false_calls
from ctcnet.labels import CONTAINS_CTC, LabelSchema, load_schema
from ctcnet.panel import Panel, load_panel
from ctcnet.progress import track
from ctcnet.training.checkpoint import load_classifier

CONFIG = Path("configs/five_class.yaml")
PANEL, LABELS, DIFFICULTY = "ctc5", "five_class", "hard"
OURS = "compact"
PEERS = (OURS, BOOSTING, "mobilenet_v3_small", encoder_classifier.NAME, "resnet18", "convnext_tiny")
FOLDS, TEST_FOLD, SEED = "5", 0, 0
OPTIONS = {
    "trainer.max_epochs": "2",
    "trainer.precision": "bf16-mixed",
    "data.batch_size": "128",
    "data.split.test_fraction": "0",
    "data.split.val_fraction": "0",
    "selection.rule": "last",
    "selection.patience_epochs": "null",
    "model.optimizer.warmup_epochs": "0.3",
}
PER_MILLION, OURS_PER_MILLION = 100, 10
REFERENCE = "resnet18"
"""Peer that speeds are told in."""
SPEED_CROPS = 256

Score = Callable[[Negatives], np.ndarray]
"""Probabilities (n, K) of crops."""


def pieces_needed(per_million: int) -> int:
    """Pieces of the stream that a statement on so many false calls per million needs."""
    return int(np.ceil(ZERO_EVENTS_BOUND * 1e6 / per_million / PIECE_CROPS))


def log_odds(probabilities: np.ndarray, schema: LabelSchema) -> np.ndarray:
    """Log-odds (N,) that an event contains a CTC, from probabilities (N, K)."""
    inside = schema.rollup_mask(CONTAINS_CTC)
    yes, no = (np.maximum(probabilities[:, mask].astype(np.float64).sum(axis=1), 1e-13) for mask in (inside, ~inside))
    return np.log(yes) - np.log(no)


def recalls(
    score: np.ndarray, truth: np.ndarray, negative: np.ndarray, schema: LabelSchema, per_million: int
) -> dict[str, Mapping[str, Any]]:
    """For each class that contains a CTC what is found of it at so many false calls per million negatives.

    Args:
        score: (N,) log-odds of test crops of the classes `truth` (N,).
        negative: (M,) log-odds of events without a CTC.
    """
    found = {}
    for index in np.flatnonzero(schema.rollup_mask(CONTAINS_CTC)):
        own = score[truth == index]
        positive = np.r_[np.zeros(len(negative), dtype=bool), np.ones(len(own), dtype=bool)]
        figures = recall_at_false_calls(np.r_[negative, own], positive, (per_million,))
        found[schema.classes[index]] = figures[str(per_million)]
    return found


class Comparison:
    """The peers of one folder of results.

    Args:
        runs: what they share.
    """

    def __init__(self, runs: FoldRuns) -> None:
        self.runs = runs
        self.panel: Panel = load_panel(PANEL)
        self.schema: LabelSchema = load_schema(LABELS)

    def answers(self, peer: str) -> dict[str, np.ndarray]:
        """See `FoldRuns.part`."""
        return self.runs.part(peer, TEST_FOLD, SEED)

    def scorer(self, peer: str) -> Score:
        """The trained peer."""
        if peer == BOOSTING:
            model = joblib.load(self.runs.boosting_model(TEST_FOLD, SEED))
            nucleus = self.panel.roles.index("nucleus")
            return lambda crops: model.predict_proba(crop_features(crops.counts, nucleus))
        predictor = load_classifier(self.runs.checkpoint(peer, TEST_FOLD, SEED))
        return lambda crops: predictor.predict(crops.counts, crops.background, crops.scale).probabilities

    def score_negatives(self, pieces: Mapping[str, int]) -> None:
        """Score the first pieces of the stream by each peer, as many as stated, where that was not done before."""
        scorers = {peer: self.scorer(peer) for peer in pieces}
        for piece in track(range(max(pieces.values())), "Scoring events without a CTC"):
            lacking = [
                peer for peer, count in pieces.items() if piece < count and not self._scores(peer, piece).exists()
            ]
            if not lacking:
                continue
            found: dict[str, list[np.ndarray]] = {peer: [] for peer in lacking}
            for crops in negatives(self.panel, DIFFICULTY, piece):
                for peer in lacking:
                    found[peer].append(log_odds(scorers[peer](crops), self.schema))
            for peer, scores in found.items():
                save_result(self._scores(peer, piece), {"log_odds": np.concatenate(scores).round(6).tolist()})

    def negative_scores(self, peer: str, pieces: int) -> np.ndarray:
        """Log-odds (M,) of the first pieces of the stream."""
        files = [self._scores(peer, piece) for piece in range(pieces)]
        return np.concatenate([json.loads(file.read_text())["log_odds"] for file in files])

    def _scores(self, peer: str, piece: int) -> Path:
        return self.runs.out / "negatives" / f"{peer}_{piece:03d}.json"

    def speeds(self, peers: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Size and speed of the peers on one thread, from one run; from its file where that has them all."""
        path = self.runs.out / "speed.json"
        kept = json.loads(path.read_text())["peers"] if path.is_file() else {}
        if set(peers) <= set(kept):
            return kept
        names = [peer for peer in peers if peer not in (BOOSTING, REFERENCE)] + [REFERENCE]
        found: dict[str, Any] = {str(row["network"]): row for row in measure(names, 64, 64, 1, 1, 5, 1.0)}
        if BOOSTING in peers:
            found[BOOSTING] = self._speed_of_boosting(float(found[REFERENCE]["crops/s"]))
        save_result(path, {"hardware": hardware(), "onnxruntime": onnxruntime.__version__, "peers": found})
        return found

    def _speed_of_boosting(self, reference: float) -> dict[str, Any]:
        """Features included, in this process."""
        crops, score = next(negatives(self.panel, DIFFICULTY, 0, SPEED_CROPS, 2)), self.scorer(BOOSTING)
        start = perf_counter()
        score(crops)
        speed = len(crops.counts) / (perf_counter() - start)
        ratio = {f"x ResNet-18{which}": round(speed / reference, 2) for which in ("", ", least", ", most")}
        return {"network": BOOSTING, "parameters (k)": "-", "MMAC": "-", "crops/s": round(speed)} | ratio


def tabulate(comparison: Comparison, peers: Sequence[str]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Table of peers, and recalls of the compact network at ever rarer false calls."""
    answers = {peer: comparison.answers(peer) for peer in peers}
    pieces = {peer: pieces_needed(OURS_PER_MILLION if peer == OURS else PER_MILLION) for peer in peers}
    comparison.score_negatives(pieces)
    pooled = {peer: Pooled.of_parts([[found]]) for peer, found in answers.items()}
    speeds, schema = comparison.speeds(peers), comparison.schema
    rows = []
    for peer in peers:
        figures, speed = pooled[peer].figures(), speeds[peer]
        compared = peer != OURS and OURS in pooled
        row = {
            "peer": peer,
            "macro-F1": f"{figures['macro_f1'].mean():.3f} ({pooled[peer].interval('macro_f1')})",
            f"{OURS} less this": pooled[OURS].less(pooled[peer]) if compared else "-",
        }
        found = _recalls(comparison, peer, answers[peer], PER_MILLION, pieces_needed(PER_MILLION))
        row |= {f"{name}, recall at {PER_MILLION} per million": _recall_text(entry) for name, entry in found.items()}
        row |= {"parameters (k)": f"{speed['parameters (k)']}", "MMAC": f"{speed['MMAC']}"}
        row |= {"crops/s": f"{speed['crops/s']}", "x ResNet-18": f"{speed['x ResNet-18']}"}
        rows.append(row)
    rarer = []
    if OURS in peers:
        for per_million in (PER_MILLION, OURS_PER_MILLION):
            found = _recalls(comparison, OURS, answers[OURS], per_million, pieces[OURS])
            row = {f"{OURS}, false calls per million of {pieces[OURS] * PIECE_CROPS:,}": str(per_million)}
            rarer.append(row | {name: _recall_text(entry) for name, entry in found.items()})
    assert schema.classes == pooled[peers[0]].classes
    return rows, rarer


def _recalls(
    comparison: Comparison, peer: str, found: Mapping[str, np.ndarray], per_million: int, pieces: int
) -> dict[str, Mapping[str, Any]]:
    score = log_odds(found["probabilities"], comparison.schema)
    negative = comparison.negative_scores(peer, pieces)
    return recalls(score, found["truth"], negative, comparison.schema, per_million)


def _recall_text(figures: Mapping[str, Any]) -> str:
    """Recall with its interval, and what the number of negatives lets one say."""
    low, high = figures["recall_interval"]
    calls = f"{figures['false_calls']} of {figures['negatives']:,}, {figures['support']}"
    return f"{100 * figures['recall']:.1f} % ({100 * low:.1f} to {100 * high:.1f}; {calls})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True, help="packed store of the simulated crops")
    parser.add_argument("--out", type=Path, required=True, help="folder for finished parts and the table")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS, help="in this order")
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of training for all")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    options = OPTIONS | dict(option.split("=", 1) for option in args.set)
    comparison = Comparison(FoldRuns(args.config, args.manifest, FOLDS, args.out, options))
    rows, rarer = tabulate(comparison, args.peers)
    title = "Simulated cells, five classes, hard setting, patients apart"
    for name, table in ((title, rows), (f"{title}: rarer false calls", rarer)):
        if table:
            print_table(name, table)
    save_result(args.out / "table.json", {"title": title, "hardware": hardware(), "rows": rows, "rarer": rarer})


if __name__ == "__main__":
    main()
