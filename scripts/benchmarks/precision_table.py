"""float32, INT8 and half precision of the shipped model, beside ResNet-18 and MobileNetV3-small made the same way.

Every model is exported as `ctcnet export` does it, in float32, INT8 (calibrated on a third of the groups of CROPS) and
float16; the shipped model is judged on the other groups as `ctcnet export` judges it, the peers, which are untrained,
are timed only. Runs of all sessions alternate, so that a slow moment of the machine hits all. Float16 runs on a GPU;
on a CPU onnxruntime turns it back into float32, and its speed there says nothing.

    ctcnet simulate crops CROPS --count 4000 --groups 20 --seed 5 --effects all
    python scripts/benchmarks/precision_table.py CROPS/manifest.csv --json table.json [--threads 1 2 2x1] [--rounds 9]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import onnx
import onnxruntime
from benchmark_output import hardware, print_table, save_result
from session_speed import crop_feed, crops_per_second, open_session
from untrained_model import untrained_card, write_untrained

from ctcnet.cli.models import find_model
from ctcnet.crops import LabelledCrops
from ctcnet.export import export_predictor
from ctcnet.export.half import to_float16
from ctcnet.export.layer_inputs import Feed
from ctcnet.export.layers import reducible
from ctcnet.export.precision import GUARD_BANDS
from ctcnet.export.precision_gate import compare
from ctcnet.export.quantise import Quantiser
from ctcnet.export.reference_crops import divide, graph_feeds, read_reference_crops
from ctcnet.panel import load_panel
from ctcnet.pretrained.specialise import specialise
from ctcnet.runtime import OnnxPredictor, classify_crops
from ctcnet.training.shipped_weights import read_shipped

PEERS = ("resnet18", "mobilenet_v3_small")
PRECISIONS = ("float32", "int8", "fp16")


def _reduce(path: Path, feeds: Sequence[Feed]) -> dict[str, Path]:
    """The float32 file and its INT8 and float16 twins, without a gate."""
    model = onnx.load(str(path))
    layers = reducible(model.graph)
    files = {"float32": path}
    for precision, reduced in (("int8", Quantiser(model, feeds).to_int8(layers)), ("fp16", to_float16(model, layers))):
        files[precision] = path.with_name(f"{path.stem}.{precision}.onnx")
        onnx.save_model(reduced, str(files[precision]))
    return files


def _speeds(files: dict[str, Path], args: argparse.Namespace, threads: int, calls: int) -> dict[str, list[float]]:
    """Crops per second of each file in each round, by so many calls at once of so many threads.

    Of wall time, or with one thread of the processor's time, which other work on the machine disturbs less.
    """
    feed = crop_feed(args.batch_size)
    provider = f"{args.provider.upper()}ExecutionProvider"
    sessions = {name: open_session(file, threads, provider) for name, file in files.items()}
    clock = process_time if args.processor_time and threads * calls == 1 else perf_counter
    speeds: dict[str, list[float]] = {name: [] for name in sessions}
    for session in sessions.values():
        session.run(None, feed)
    for _ in range(args.rounds):
        for name, session in sessions.items():
            speeds[name].append(crops_per_second(session, feed, args.seconds, calls, clock))
    return speeds


def _calls_and_threads(words: str) -> tuple[int, int]:
    """Threads within a call and calls at once of '2' (one call) or '2x1' (two calls of one thread)."""
    calls, _, threads = words.rpartition("x")
    return int(threads), int(calls or 1)


def _speed_rows(speeds: dict[str, list[float]], models: Sequence[str]) -> list[dict[str, Any]]:
    def ratio(name: str, other: str) -> str:
        values = [a / b for a, b in zip(speeds[name], speeds[other], strict=True)]
        return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    return [
        {
            "model": model,
            "precision": precision,
            "crops/s": round(median(speeds[f"{model} {precision}"])),
            "x its float32": ratio(f"{model} {precision}", f"{model} float32"),
            "x ResNet-18 of the same precision": ratio(f"{model} {precision}", f"resnet18 {precision}"),
        }
        for model in models
        for precision in PRECISIONS
    ]


def _decision_rows(files: dict[str, Path], held_out: LabelledCrops) -> list[dict[str, Any]]:
    """INT8 and float16 of the shipped model against its float32, on crops that nothing was calibrated on."""
    answers = {name: classify_crops(OnnxPredictor(file), held_out)[0] for name, file in files.items()}
    card = OnnxPredictor(files["float32"]).card
    rows = []
    for precision, band in GUARD_BANDS.items():
        gate = compare(answers["float32"], answers[precision], held_out.labels, replace(card, guard_band=band))
        row: dict[str, Any] = {
            "precision": precision,
            "crops": gate.crops,
            "guard band": band,
            "decisions that differ": gate.flips_inside + gate.flips_outside,
            "outside the guard band": gate.flips_outside,
            "largest probability difference": round(gate.probability_difference, 4),
        }
        for name, recall in gate.recalls.items():
            row[f"recall of {name}"] = f"{recall.reduced:.4f} (float32 {recall.float32:.4f})"
        if gate.calibration_error is not None:
            row["calibration error"] = "{1:.4f} (float32 {0:.4f})".format(*gate.calibration_error)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path, help="manifest, store or folder of labelled crops of the panel ctc5")
    parser.add_argument("--model", default="ctcnet-s", help="shipped model")
    words = "threads within a call, or CALLSxTHREADS for calls side by side (default: 1 2 2x1)"
    parser.add_argument("--threads", type=_calls_and_threads, nargs="+", default=[(1, 1), (2, 1), (1, 2)], help=words)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one measurement")
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--processor-time", action="store_true", help="on a busy machine, for one thread")
    parser.add_argument("--json", type=Path, default=None, help="also write the tables here")
    args = parser.parse_args()
    panel = load_panel("ctc5")
    with tempfile.TemporaryDirectory() as folder:
        exported = export_predictor(
            specialise(read_shipped(find_model(args.model).parent), panel), Path(folder) / f"{args.model}.onnx"
        )
        card = OnnxPredictor(exported.model).card
        division = divide(read_reference_crops(args.crops, panel, card), args.crops)
        feeds = graph_feeds(division.calibration, card, np.dtype(np.uint16))
        own = _reduce(exported.model, feeds)
        files = {f"{args.model} {precision}": path for precision, path in own.items()}
        for name in PEERS:
            path = Path(folder) / f"{name}.onnx"
            write_untrained(untrained_card(name, "ctc5", 64), path)
            files |= {f"{name} {precision}": twin for precision, twin in _reduce(path, feeds).items()}
        decisions = _decision_rows(own, division.held_out)
        tables = {}
        for threads, calls in args.threads:
            rows = _speed_rows(_speeds(files, args, threads, calls), (args.model, *PEERS))
            words = f"{args.provider}, {calls} x {threads} threads, batches of {args.batch_size}"
            title = f"onnxruntime {onnxruntime.__version__}, {words}"
            print_table(title, rows)
            tables[title] = rows
    kind = "simulated crops" if division.held_out.simulated else "crops"
    print_table(f"Decisions beside float32 on {kind} of groups not calibrated on", decisions)
    save_result(args.json, {"hardware": hardware(), "speed": tables, "decisions": decisions})


if __name__ == "__main__":
    main()
