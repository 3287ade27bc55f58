"""A shipped model beside another one that might take its place, on the same simulated crops that neither was shown.

    python scripts/benchmarks/candidate_network.py --model FOLDER --against FOLDER [--panels ctc5 ...] [--seeds 992 993]

A new network replaces the shipped one by these figures alone, before any real cell is scored: macro-F1 with a paired
bootstrap interval over sets of cartridges, each imaged in its own way, negative log-likelihood before temperature, and
how many crops with a CTC are found where 1 % of the leukocytes are called one. The last is the noisiest: give several
seeds. Every figure is of simulated cells. For research use only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result

from ctcnet.cli.models import find_model
from ctcnet.evaluation.bootstrap import paired_difference
from ctcnet.labels import CONTAINS_CTC
from ctcnet.model_card import fold_matrix
from ctcnet.panel import Panel, load_panel
from ctcnet.pretrained.calibration import calibrated, calibration_crops, folded_labels, untold_classes
from ctcnet.pretrained.specialise import check_panel, mode_for, panel_network
from ctcnet.simulate.composition import CLASSES
from ctcnet.training.shipped_weights import ShippedModel, read_shipped

PANELS = ("ctc5", "cellsearch4", "sarcoma", "bzscanner")
FALSE_SHARE = 0.01
LEUKOCYTE = CLASSES.index("leukocyte")


class Answers(NamedTuple):
    """True classes and sets of cartridges (N,), and probabilities (N, K) before temperature."""

    truth: np.ndarray
    piece: np.ndarray
    probabilities: np.ndarray


def answers(model: ShippedModel, panel: Panel, seeds: list[int], pieces: int) -> Answers:
    """What a model says of crops that are the same for every model."""
    mode = mode_for(panel)
    network, fold = panel_network(model, panel, mode), fold_matrix(CLASSES, untold_classes(panel))
    parts = []
    for place, seed in enumerate(seeds):
        crops = calibration_crops(model.card, network, panel, mode, seed=seed, pieces=pieces)
        probabilities = calibrated(crops.features.logits, 1.0, fold)
        parts.append(Answers(folded_labels(crops.labels, fold), crops.piece + place * pieces, probabilities))
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def figures(found: Answers, contains_ctc: np.ndarray) -> tuple[float, float]:
    """Negative log-likelihood and share of the crops with a CTC found at `FALSE_SHARE`."""
    truth, _, probabilities = found
    likelihood = np.maximum(probabilities[np.arange(len(truth)), truth], 1e-6)
    score = probabilities[:, contains_ctc].sum(axis=1)
    limit = np.quantile(score[truth == LEUKOCYTE], 1 - FALSE_SHARE)
    return float(-np.log(likelihood).mean()), float((score[contains_ctc[truth]] > limit).mean())


def row(models: Sequence[ShippedModel], name: str, seeds: list[int], pieces: int) -> dict[str, str]:
    """One panel's line of the table for two models; of each figure the first one's and then the other's."""
    panel = check_panel(load_panel(name), models[0].card.name)
    both = [answers(model, panel, seeds, pieces) for model in models]
    first = both[0]
    contains_ctc = np.asarray(models[0].card.labels.rollup_mask(CONTAINS_CTC))
    called, other_called = (found.probabilities.argmax(axis=1) for found in both)
    gaps = paired_difference(first.truth, called, other_called, first.piece, len(CLASSES), figures=("macro_f1",))
    gap = gaps["macro_f1"]
    likelihood, found = zip(*(figures(answer, contains_ctc) for answer in both), strict=True)
    return {
        "panel": name,
        "crops": str(len(first.truth)),
        "macro-F1": f"{gap.first:.3f}, {gap.second:.3f}",
        "difference (95 % interval)": f"{gap.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})",
        "negative log-likelihood": "{:.3f}, {:.3f}".format(*likelihood),
        f"CTCs at {100 * FALSE_SHARE:g} % of leukocytes": "{:.3f}, {:.3f}".format(*found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ctcnet-s", help="folder or name of a shipped model")
    parser.add_argument("--against", required=True, help="folder of another one, such as of an older commit")
    parser.add_argument("--panels", nargs="+", default=list(PANELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[992, 993, 994, 995])
    parser.add_argument("--pieces", type=int, default=96, help="sets of 2 cartridges and 80 crops for each seed")
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    models = tuple(read_shipped(find_model(given).parent) for given in (args.model, args.against))
    rows = [row(models, name, args.seeds, args.pieces) for name in args.panels]
    title = f"{args.model}, {args.against}, simulated crops of unseen cartridges"
    print_table(title, rows)
    save_result(args.json, {"title": title, "hardware": hardware(), "rows": rows})


if __name__ == "__main__":
    main()
