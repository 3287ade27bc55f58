"""One model, many runtimes: onnxruntime of several versions, in Python, Node.js and WebAssembly, against the newest.

    python scripts/benchmarks/runtime_versions.py --work WORK [--models MODEL ...] [--runtimes 1.17 web] [--json OUT]

Each runtime has an environment of its own below WORK and runs without ctcnet, as on an instrument
(`scripts/examples/python/run_cases.py`, `scripts/examples/node/run_cases.mjs`). Inputs are simulated crops of the
model's panel, all of them in batches of 1, 2, 7 and 64, with the levels of their cartridges and with the model's own.
What a runtime has answered is kept in WORK, so that a run that was stopped goes on. For research use only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_output import hardware, print_table, save_result
from runtime_cases import Answer, Case, read_answers, write_cases
from runtime_environments import RUNTIMES, Runtime, make_runtime

from ctcnet.cli import main as ctcnet
from ctcnet.crops import read_crops
from ctcnet.export.parity import BATCH_SIZES, decision_flips
from ctcnet.model_card import ModelCard
from ctcnet.panel import load_panel
from ctcnet.progress import track
from ctcnet.runtime import OnnxPredictor, Predictions, SessionSettings

MODELS = Path(__file__).resolve().parents[2] / "models" / "ctcnet-s"
REFERENCE = "newest"
COUNT, GROUPS, SEED = 256, 4, 909
"""Crops, the simulated cartridges they are from, and the seed, which no model was trained on."""


def crop_cases(card: ModelCard, folder: Path) -> Iterator[Case]:
    """Every crop in every batch size, with its cartridge's levels and with the model's own."""
    counts, background, scale = _simulated_crops(card, folder)
    own = np.full(counts.shape[1], np.nan, dtype=np.float32)
    _, groups = np.unique(background, axis=0, return_inverse=True)
    for size in BATCH_SIZES:
        for group in range(groups.max() + 1):
            rows = np.flatnonzero(groups == group)
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                levels = {"cartridge": (background[batch[0]], scale[batch[0]]), "model": (own, own)}
                for name, (low, high) in levels.items():
                    inputs = {"crops": counts[batch], "background": low, "scale": high}
                    yield Case(f"batch {size}, levels of the {name}", inputs)


def _simulated_crops(card: ModelCard, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts uint16 (N, C, S, S) at the model's scale, and the levels of each crop's cartridge, float32 (N, C)."""
    if not folder.exists():
        size = ("--crop-size-px", str(card.crop_size_px), "--pixel-size-um", str(card.pixel_size_um))
        number = ("--count", str(COUNT), "--groups", str(GROUPS), "--seed", str(SEED))
        ctcnet(["simulate", "crops", str(folder), *number, *size, "--panel", card.panel.name, "--effects", "all"])
    crops = read_crops(folder / "manifest.csv", load_panel(card.panel.name), labelled=False)
    counts = crops.read(np.arange(COUNT), card.pixel_size_um, card.crop_size_px)
    return counts, crops.background.astype(np.float32), crops.scale.astype(np.float32)


def answers_of(runtime: Runtime, model: Path, cases: Path, work: Path) -> tuple[str, list[Answer]]:
    """What a runtime says of the cases, from the last run where neither model, inputs nor environment have changed."""
    key = sha256(model.read_bytes() + (cases / "cases.json").read_bytes() + (cases / "inputs.bin").read_bytes())
    out = work / "answers" / runtime.name / f"{model.stem}-{key.hexdigest()[:12]}"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        runtime.run(model, cases, out)
    return read_answers(out)


def compare_crops(expected: list[Answer], found: list[Answer], card: ModelCard) -> dict[str, Any]:
    """Largest difference between probabilities for each batch size, and decisions that differ."""
    largest: dict[int, float] = dict.fromkeys(BATCH_SIZES, 0.0)
    decisions = inside = outside = 0
    for first, second in zip(expected, found, strict=True):
        if first.error or second.error:
            raise RuntimeError(f"{second.name}: {first.error or second.error}")
        a, b = _predictions(first), _predictions(second)
        size = int(first.name.split(",")[0].removeprefix("batch "))
        largest[size] = max(largest[size], float(np.abs(a.probabilities - b.probabilities).max()))
        flips = decision_flips(a, b, card)
        decisions += len(a.probabilities)
        inside, outside = inside + int(flips.inside.sum()), outside + int(flips.outside.sum())
    return {
        **{f"largest difference, batch {size}": f"{value:.1e}" for size, value in largest.items()},
        "decisions": decisions,
        "differ in the guard band": inside,
        "differ outside": outside,
    }


def _predictions(answer: Answer) -> Predictions:
    return Predictions(**{name: answer.outputs[name] for name in Predictions._fields})


def parity_rows(model: Path, runtimes: Mapping[str, Runtime], work: Path) -> list[dict[str, Any]]:
    """One row for each runtime beside the reference."""
    card = OnnxPredictor(model, SessionSettings(threads=1)).card
    cases = work / "cases" / f"{card.name}-{card.panel.name}"
    if not cases.exists():
        write_cases(crop_cases(card, work / "crops" / card.panel.name), cases)
    reference, expected = answers_of(runtimes[REFERENCE], model, cases, work)
    rows = []
    for name in track([name for name in runtimes if name != REFERENCE], f"{model.name} in each runtime"):
        runtime, found = answers_of(runtimes[name], model, cases, work)
        rows.append({"model": model.name, "runtime": runtime, **compare_crops(expected, found, card)})
    print(f"{model.name}: reference {reference}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for environments, inputs and answers")
    parser.add_argument("--models", type=Path, nargs="+", default=sorted(MODELS.glob("*.onnx")))
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    args = parser.parse_args()
    work = args.work.resolve()
    names = dict.fromkeys((REFERENCE, *args.runtimes))
    runtimes = {name: make_runtime(name, work / "environments") for name in track(names, "environments")}
    rows = [row for model in args.models for row in parity_rows(model.resolve(), runtimes, work)]
    title = f"Crop graph against onnxruntime newest; {COUNT} simulated crops"
    print_table(title, rows)
    save_result(args.json, {"title": title, "hardware": hardware(), "rows": rows})


if __name__ == "__main__":
    main()
