"""A shipped model on simulated crops of unseen cartridges: classes, calibration, conformal sets, atypicality.

    python scripts/benchmarks/shipped_model_checks.py --model ctcnet-s [--panels ctc5 cellsearch4] [--out JSON]

Every figure is of simulated cells with all effects on; nothing is fitted here. For research use only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result
from scipy.stats import beta
from sklearn.metrics import f1_score, roc_auc_score
from unusual_pictures import KINDS

from ctcnet.evaluation.prior import restate_prior
from ctcnet.labels import CONTAINS_CTC
from ctcnet.model_card import fold_matrix
from ctcnet.panel import Panel, load_panel
from ctcnet.pretrained.calibration import calibrated, calibration_crops, folded_labels
from ctcnet.pretrained.specialise import specialise
from ctcnet.runtime.conformal import judge_unassigned, prediction_sets
from ctcnet.simulate.cartridge_levels import levels_of_crops
from ctcnet.simulate.crop_plan import plan_crops
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.effects import Effects
from ctcnet.training.shipped_weights import ShippedModel, find_shipped, read_shipped
from ctcnet.training.torch_predictor import TorchPredictor

SEED = 77_000
PANELS = ("ctc5", "cellsearch4", "hdsca4", "bzscanner", "axioscan", "rarecyte6", "sarcoma", "imaging_flow", "rgb_merge")
LEAST_IN_BIN, LEAST_OUTCOME = 100, 10
RARE_PRIOR = 0.01
"""Of all classes that contain a CTC together, to which probabilities are restated."""
TYPICAL, UNUSUAL = 2000, 400


class Answers(NamedTuple):
    """Probabilities (N, K), unassigned (N,) and atypicality (N,)."""

    probabilities: np.ndarray
    unassigned: np.ndarray
    atypicality: np.ndarray


class Crops(NamedTuple):
    """Counts uint16 (N, C, S, S), levels float32 (N, C) and labels (N,) of simulated crops."""

    counts: np.ndarray
    background: np.ndarray
    scale: np.ndarray
    labels: np.ndarray


def simulate(panel: Panel, pixel_size_um: float, side_px: int, count: int, seed: int) -> Crops:
    """Crops of 60 cartridges at the model's scale."""
    plan = plan_crops(count, seed, 60)
    simulator = CropSimulator(
        panel, crop_size_px=side_px, pixel_size_um=pixel_size_um, seed=seed, num_groups=60, scanners=20,
        effects=Effects.all(),
    )  # fmt: skip
    labels, groups = torch.from_numpy(plan.labels), torch.from_numpy(plan.groups)
    counts = simulator.sample(labels, groups).counts
    levels = levels_of_crops(simulator, counts, labels, groups)
    background, scale = (values[plan.groups].astype(np.float32) for values in levels)
    return Crops(counts.numpy(), background, scale, plan.labels)


def answers(predictor: TorchPredictor, crops: Crops) -> Answers:
    """What the model says of the crops."""
    own = predictor.card.normalization.mode == "per_crop"
    parts = []
    for start in range(0, len(crops.counts), 256):
        rows = slice(start, start + 256)
        levels = (None, None) if own else (crops.background[rows], crops.scale[rows])
        parts.append(predictor.predict(crops.counts[rows], *levels))
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in Answers._fields))


def unseen(shipped: ShippedModel, predictor: TorchPredictor, pieces: int, seed: int) -> tuple[np.ndarray, Answers]:
    """Labels and answers of crops drawn as those of the calibration were, from another seed."""
    card = predictor.card
    mode = card.normalization.mode
    crops = calibration_crops(shipped.card, predictor.network, card.panel, mode, seed=seed, pieces=pieces)
    fold = fold_matrix(card.labels.classes, card.folded)
    probabilities = calibrated(crops.features.logits, card.temperature, fold)
    assert card.ctc_log_odds is not None
    probabilities = card.ctc_log_odds.apply(probabilities, np.asarray(card.labels.rollup_mask(CONTAINS_CTC)))
    assert predictor.atypicality is not None
    with torch.inference_mode():
        atypicality = predictor.atypicality.score(*map(torch.from_numpy, crops.features[:2])).numpy()
    return folded_labels(crops.labels, fold), Answers(
        probabilities, judge_unassigned(probabilities, atypicality, card), atypicality
    )


def class_row(name: str, predictor: TorchPredictor, labels: np.ndarray, found: Answers) -> dict[str, str]:
    """Macro-F1, what is left open, and how often the conformal sets hold the true class."""
    probabilities, unassigned = found.probabilities, found.unassigned
    sets = prediction_sets(probabilities, predictor.card)
    assert sets is not None
    assert predictor.card.conformal is not None
    classes = predictor.card.labels.classes
    called = probabilities.argmax(1)
    told = [k for k, name in enumerate(classes) if name not in (predictor.card.folded or {})]
    each = {classes[k]: f1_score(labels == k, called == k) for k in told}
    covered = [float(sets[labels == k, k].mean()) for k in told]
    return {
        "panel": name,
        "macro-F1": f"{np.mean(list(each.values())):.3f}",
        **{f"F1 {name}": f"{each[name]:.2f}" if name in each else "" for name in classes},
        "unassigned %": f"{100 * unassigned.mean():.0f}",
        "coverage by class, stated coverage %": " ".join(
            f"{100 * value:.1f}/{100 * (1 - alpha):g}"
            for value, alpha in zip(covered, np.array(predictor.card.conformal.alpha)[told], strict=True)
        ),
    }


def calibration_rows(predictor: TorchPredictor, labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, str]]:
    """Stated against observed log-odds of P(contains a CTC), as trained and at a rare prior, in bins of a nat.

    Where a bin holds `LEAST_OUTCOME` crops with a CTC and as many without, their ratio is the observed odds. Where it
    does not, nothing but bounds can be observed (a hundred crops without an error are odds of 30 or more): then it is
    asked whether the stated odds lie in the exact 95 % interval (Clopper and Pearson 1934).
    """
    contains = np.asarray(predictor.card.labels.rollup_mask(CONTAINS_CTC))
    truth = contains[labels]
    frequency = np.bincount(labels, minlength=len(contains)) / len(labels)
    trained = np.array(predictor.card.training_prior)
    rare = np.where(contains, trained * RARE_PRIOR / trained[contains].sum(), 0)
    rare[~contains] = trained[~contains] * (1 - RARE_PRIOR) / trained[~contains].sum()
    rows = []
    for name, prior in (("as trained", trained), (f"{RARE_PRIOR:g} with a CTC", rare)):
        stated = restate_prior(probabilities, trained, prior)[:, contains].sum(1).clip(1e-12, 1 - 1e-12)
        weight = np.divide(prior, frequency, out=np.zeros_like(frequency), where=frequency > 0)[labels]
        rows.append({"prior": name, **_bins(_log_odds(stated), truth, weight), "wanted": "<= 0.5 in all"})
    return rows


def _bins(log_odds: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> dict[str, str]:
    """Figures over the bins of a nat of stated `log_odds` (N,) that hold `LEAST_IN_BIN` crops."""
    gaps, outside, bounded = {}, 0, 0
    for index in np.unique(np.floor(log_odds)):
        own = np.floor(log_odds) == index
        hits, misses = int(truth[own].sum()), int((~truth[own]).sum())
        if hits + misses < LEAST_IN_BIN:
            continue
        stated = _log_odds(np.average(1 / (1 + np.exp(-log_odds[own])), weights=weight[own]))
        if min(hits, misses) >= LEAST_OUTCOME:
            gaps[index] = np.log((weight * truth)[own].sum() / (weight * ~truth)[own].sum()) - stated
            continue
        bounded += 1
        low, high = beta.ppf([0.025, 0.975], [hits, hits + 1], [misses + 1, misses])
        low, high = np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)
        shift = np.log(weight[truth].mean() / weight[~truth].mean())
        with np.errstate(divide="ignore"):
            outside += not _log_odds(low) + shift <= stated <= _log_odds(high) + shift
    worst = max(gaps, key=lambda index: abs(gaps[index]))
    return {
        f"bins of a nat with {LEAST_IN_BIN} crops": str(len(gaps) + bounded),
        f"of them with {LEAST_OUTCOME} of either outcome": str(len(gaps)),
        "greatest distance there, nats": f"{gaps[worst]:+.2f}",
        "in the bin from": f"{worst:g}",
        "bins beyond 0.5": str(sum(abs(gap) > 0.5 for gap in gaps.values())),
        "of the other bins, outside the exact 95 % interval": f"{outside} of {bounded}",
    }


def _log_odds(p: Any) -> Any:
    return np.log(p / (1 - p))


def atypicality_rows(predictor: TorchPredictor, crops: Crops, atypicality: np.ndarray) -> list[dict[str, str]]:
    """How well the score tells each kind of unusual picture from typical crops."""
    rng = np.random.default_rng(SEED)
    full = predictor.card.panel.full_scale
    rows = [{"pictures": "typical", "AUROC": "", "above 1 %": f"{100 * (atypicality > 1).mean():.1f}", "wanted": ""}]
    for name, make in KINDS.items():
        chosen = rng.choice(len(crops.labels), UNUSUAL, replace=False)
        levels = crops.background[chosen], crops.scale[chosen]
        pixels = make(crops.counts[chosen], *levels, full, rng)
        odd = Crops(np.clip(np.rint(pixels), 0, full).astype(np.uint16), *levels, crops.labels[chosen])
        score = answers(predictor, odd).atypicality
        area = roc_auc_score(np.r_[np.zeros(len(atypicality)), np.ones(UNUSUAL)], np.r_[atypicality, score])
        above = f"{100 * (score > 1).mean():.1f}"
        rows.append({"pictures": name, "AUROC": f"{area:.4f}", "above 1 %": above, "wanted": "> 0.99"})
    return rows


def main() -> None:
    """Read the arguments, specialise, simulate, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ctcnet-s")
    parser.add_argument("--panels", nargs="+", default=list(PANELS), help="the first one is looked at most closely")
    parser.add_argument("--pieces", type=int, default=96, help="sets of 2 cartridges and 80 crops for each panel")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = find_shipped(arguments.model, "a shipped model")
    if folder is None:
        raise SystemExit(f"{arguments.model} is no shipped model")
    shipped = read_shipped(folder)
    tables: dict[str, Any] = {}
    rows = []
    for position, name in enumerate(arguments.panels):
        predictor = specialise(shipped, load_panel(name))
        labels, found = unseen(shipped, predictor, arguments.pieces, SEED + position)
        rows.append(class_row(name, predictor, labels, found))
        if position == 0:
            card = predictor.card
            tables[f"P(contains a CTC), {name}, simulated"] = calibration_rows(predictor, labels, found.probabilities)
            crops = simulate(card.panel, card.pixel_size_um, card.crop_size_px, TYPICAL, SEED)
            typical = answers(predictor, crops).atypicality
            tables[f"Atypicality of crops, {name}, simulated"] = atypicality_rows(predictor, crops, typical)
    tables["Classes on simulated crops of unseen cartridges, all effects"] = rows
    for title, table in tables.items():
        print_table(title, table)
    save_result(arguments.out, {"hardware": hardware(), "model": arguments.model, "tables": tables})


if __name__ == "__main__":
    main()
